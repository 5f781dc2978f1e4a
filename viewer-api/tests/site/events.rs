//! Live events: greeting, scope, resume.

use crate::common::{OTHER, OWN, START, Site, request};
use axum::body::BodyDataStream;
use futures::StreamExt as _;
use http::{HeaderValue, Method};
use tower::ServiceExt as _;
use viewer_api::desk::Role;
use viewer_api::testing::clinic;

async fn open(site: &Site, token: &str, last: Option<&'static str>) -> BodyDataStream {
    let mut request = request(Method::GET, Some(token), "/events", "");
    if let Some(last) = last {
        request.headers_mut().insert("last-event-id", HeaderValue::from_static(last));
    }
    let response = site.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

async fn next(stream: &mut BodyDataStream) -> String {
    String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_stream_greets_and_then_tells_of_its_readers_clinics_alone() {
    let site = Site::new();
    let token = site.session("li", &[Role::Reader]).await;
    let mut stream = open(&site, &token, None).await;
    assert_eq!(next(&mut stream).await, format!("event: hello\ndata: {{\"now_ms\":{}}}\n\n", START.0));
    site.desk.publish("study.arrived", Some(clinic(OTHER)), Some(2), START);
    site.desk.publish("study.arrived", Some(clinic(OWN)), Some(1), START);
    let event = next(&mut stream).await;
    assert!(event.contains("id: 2\n") && event.contains("\"work_item\":1"), "{event}");
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_in_order() {
    let site = Site::new();
    let token = site.session("li", &[Role::Reader]).await;
    for _ in 0..400 {
        site.desk.publish("work.claimed", Some(clinic(OWN)), Some(1), START);
    }
    let mut stream = open(&site, &token, Some("98")).await;
    next(&mut stream).await;
    for seq in 99..=400 {
        let event = next(&mut stream).await;
        assert!(event.contains(&format!("id: {seq}\n")), "{event}");
    }
    site.desk.publish("work.released", Some(clinic(OWN)), Some(1), START);
    assert!(next(&mut stream).await.contains("id: 401\n"));
}

#[tokio::test]
async fn a_stream_ends_when_the_process_stops() {
    let site = Site::new();
    let token = site.session("li", &[Role::Reader]).await;
    let mut stream = open(&site, &token, None).await;
    next(&mut stream).await;
    site.stop.cancel();
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_session() {
    let site = Site::new();
    let token = site.session("li", &[Role::Reader]).await;
    let mut stream = open(&site, &token, None).await;
    next(&mut stream).await;
    assert!(next(&mut stream).await.starts_with(':'));
    site.send(request(Method::DELETE, Some(&token), "/session", "")).await;
    let rest: Vec<_> = stream.collect().await;
    assert!(rest.into_iter().all(|chunk| chunk.unwrap().starts_with(b":")));
}

#[tokio::test]
async fn a_client_that_has_seen_more_than_there_is_begins_anew_at_the_head() {
    let site = Site::new();
    let token = site.session("li", &[Role::Reader]).await;
    for _ in 0..3 {
        site.desk.publish("work.claimed", Some(clinic(OWN)), Some(1), START);
    }
    let mut stream = open(&site, &token, Some("98")).await;
    next(&mut stream).await;
    let reset = next(&mut stream).await;
    assert!(reset.contains("event: reset\n") && reset.contains("id: 3\n"), "{reset}");
    site.desk.publish("work.released", Some(clinic(OWN)), Some(1), START);
    assert!(next(&mut stream).await.contains("id: 4\n"));
    // Nobody who is up to date is reset.
    let mut stream = open(&site, &token, Some("4")).await;
    next(&mut stream).await;
    site.desk.publish("work.claimed", Some(clinic(OWN)), Some(1), START);
    assert!(next(&mut stream).await.contains("id: 5\n"));
}
