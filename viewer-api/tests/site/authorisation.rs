//! Every route × every role × (no session, wrong role, another clinic's study). A route of the OpenAPI document that
//! is missing in the table fails the test.

use crate::common::{OTHER, OWN, Site, request};
use http::{Method, StatusCode};
use std::collections::BTreeSet;
use viewer_api::desk::Role::{
    self, Administrator, Clinician, Monitor, Radiographer, Reader, Reviewer, SecurityAuditor,
};

const ROLES: [Role; 7] = [Radiographer, Reader, Reviewer, Clinician, Administrator, SecurityAuditor, Monitor];
const VIEWS: &[Role] = &[Reader, Reviewer, Clinician];
const READS: &[Role] = &[Reader, Reviewer];
const LISTENS: &[Role] = &[Reader, Reviewer, Clinician, Monitor, Administrator];

/// What a path names that belongs to a clinic.
#[derive(Clone, Copy, PartialEq)]
enum Scope {
    Nothing,
    Item,
    Study,
    Report,
}

struct Route {
    method: &'static str,
    path: &'static str,
    roles: &'static [Role],
    scope: Scope,
    body: &'static str,
}

const fn route(
    method: &'static str,
    path: &'static str,
    roles: &'static [Role],
    scope: Scope,
    body: &'static str,
) -> Route {
    Route { method, path, roles, scope, body }
}

const EPOCH: &str = r#"{"epoch":1}"#;
const DRAFT: &str = r#"{"epoch":1,"replaces":0,"text":{"findings":"心肺膈未见异常"}}"#;
const SIGN: &str = r#"{"epoch":1,"draft_revision":1,"kind":"preliminary","pin":"1234",
    "study_revision":"0000000000000000000000000000000000000000000000000000000000000000"}"#;
const CRITICAL: &str = r#"{"code":"X-A01","finding":"张力性气胸"}"#;
const RETAKE: &str = r#"{"epoch":1,"reason":"position","text":"请重拍"}"#;
const IDENTITY: &str = r#"{"reason":"登记错误","patient":{"name":"王小东","sex":"M","birth_date":"","age":"",
    "local_id":"1","national_id":""}}"#;

const TABLE: &[Route] = &[
    route("get", "/session", &ROLES, Scope::Nothing, ""),
    route("delete", "/session", &ROLES, Scope::Nothing, ""),
    route("get", "/worklist", VIEWS, Scope::Nothing, ""),
    route("post", "/worklist/claim-next", READS, Scope::Nothing, "{}"),
    route("post", "/worklist/{item}/claim", READS, Scope::Item, ""),
    route("post", "/worklist/{item}/renew", READS, Scope::Item, EPOCH),
    route("post", "/worklist/{item}/release", READS, Scope::Item, EPOCH),
    route("get", "/worklist/{item}/study", VIEWS, Scope::Item, ""),
    route("get", "/studies/{clinic}/{study_uid}", VIEWS, Scope::Study, ""),
    route("get", "/studies/{clinic}/{study_uid}/instances/{hash}/file", VIEWS, Scope::Study, ""),
    route("get", "/studies/{clinic}/{study_uid}/instances/{hash}/metadata", VIEWS, Scope::Study, ""),
    route("get", "/studies/{clinic}/{study_uid}/instances/{hash}/frames/{frame}", VIEWS, Scope::Study, ""),
    route(
        "get",
        "/studies/{clinic}/{study_uid}/instances/{hash}/frames/{frame}/raw",
        VIEWS,
        Scope::Study,
        "",
    ),
    route(
        "get",
        "/studies/{clinic}/{study_uid}/instances/{hash}/frames/{frame}/rendered",
        VIEWS,
        Scope::Study,
        "",
    ),
    route("get", "/studies/{clinic}/{study_uid}/instances/{hash}/preview", VIEWS, Scope::Study, ""),
    route("get", "/studies/{clinic}/{study_uid}/instances/{hash}/waveform", VIEWS, Scope::Study, ""),
    route("get", "/worklist/{item}/draft", READS, Scope::Item, ""),
    route("put", "/worklist/{item}/draft", READS, Scope::Item, DRAFT),
    route("post", "/worklist/{item}/sign", READS, Scope::Item, SIGN),
    route("post", "/worklist/{item}/audit", &[Reviewer], Scope::Item, SIGN),
    route("post", "/worklist/{item}/critical", READS, Scope::Item, CRITICAL),
    route("post", "/worklist/{item}/retake", READS, Scope::Item, RETAKE),
    route("post", "/worklist/{item}/identity", READS, Scope::Item, IDENTITY),
    route("get", "/reports/{report}/versions/{version}/{part}", VIEWS, Scope::Report, ""),
    route("get", "/events", LISTENS, Scope::Nothing, ""),
    route("get", "/throughput", &[Monitor, Administrator], Scope::Nothing, ""),
    route("get", "/clinics", &[Administrator], Scope::Nothing, ""),
    route("get", "/accounts", &[Administrator], Scope::Nothing, ""),
    route("post", "/accounts/{login}/unlock", &[Administrator], Scope::Nothing, ""),
];

/// Routes without session by nature.
const OPEN: [(&str, &str); 1] = [("post", "/session")];

impl Route {
    fn path(&self, own: bool, hash: &str) -> String {
        let (clinic, uid, item) = if own { (OWN, "1.2.3", "1") } else { (OTHER, "1.2.9", "2") };
        self.path
            .replace("{item}", item)
            .replace("{clinic}", clinic)
            .replace("{study_uid}", uid)
            .replace("{hash}", hash)
            .replace("{frame}", "1")
            .replace("{report}", if own { "r-1" } else { "r-2" })
            .replace("{version}", "1")
            .replace("{part}", "report.pdf")
            .replace("{login}", "reader")
    }

    fn method(&self) -> Method {
        self.method.to_uppercase().parse().unwrap()
    }
}

/// Item 1 claimed, drafted and signed by the one reader, so that every allowed call finds something.
async fn worked(site: &Site, upto_signed: bool) {
    let token = site.session("author", &[Reader]).await;
    let body = |text: &str| text.to_owned();
    assert_eq!(site.post(&token, "/worklist/1/claim", "").await.status, StatusCode::OK);
    if upto_signed {
        let save = request(Method::PUT, Some(&token), "/worklist/1/draft", &body(DRAFT));
        assert_eq!(site.send(save).await.status, StatusCode::OK);
        assert_eq!(site.post(&token, "/worklist/1/sign", &body(SIGN)).await.status, StatusCode::OK);
    }
}

#[test]
fn the_table_names_every_route_of_the_openapi_document() {
    let document = serde_json::to_value(viewer_api::openapi()).unwrap();
    let mut documented = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            documented.insert((method.clone(), path.strip_prefix("/api/v1").unwrap().to_owned()));
        }
    }
    let open = OPEN.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    let table = TABLE.iter().map(|route| (route.method.to_owned(), route.path.to_owned()));
    assert_eq!(documented, table.chain(open).collect());
}

#[tokio::test]
async fn without_a_session_every_route_is_closed() {
    let site = Site::new();
    for route in TABLE {
        for token in [None, Some("00".repeat(32))] {
            let path = route.path(true, &site.hash);
            let answer = site.send(request(route.method(), token.as_deref(), &path, route.body)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{} {path}", route.method);
            assert_eq!(answer.code(), "UNAUTHENTICATED");
        }
    }
}

#[tokio::test]
async fn each_role_reaches_its_own_routes_and_no_other() {
    let site = Site::new();
    worked(&site, true).await;
    site.stop.cancel();
    for route in TABLE {
        for role in ROLES {
            let name = serde_json::to_value(role).unwrap().as_str().unwrap().to_owned();
            let token = site.session(&name, &[role]).await;
            let path = route.path(true, &site.hash);
            let answer = site.send(request(route.method(), Some(&token), &path, route.body)).await;
            let what = format!("{} {path} as {name}: {}", route.method, answer.status);
            if route.roles.contains(&role) {
                let lawful = answer.status.is_success()
                    || [StatusCode::CONFLICT, StatusCode::UNSUPPORTED_MEDIA_TYPE].contains(&answer.status);
                assert!(lawful, "{what} {}", String::from_utf8_lossy(&answer.body));
            } else {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
                assert_eq!(answer.code(), "FORBIDDEN", "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_study_of_a_clinic_one_does_not_serve_does_not_exist() {
    let site = Site::new();
    worked(&site, true).await;
    for route in TABLE.iter().filter(|route| route.scope != Scope::Nothing) {
        for role in route.roles {
            let token = site.session("somebody", &[*role]).await;
            let path = route.path(false, &site.hash);
            let answer = site.send(request(route.method(), Some(&token), &path, route.body)).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{} {path} as {role:?}", route.method);
            assert!(!String::from_utf8_lossy(&answer.body).contains("王晓东"));
        }
    }
    let token = site.session("somebody", &[Reader]).await;
    let list = site.get(&token, "/worklist").await.json();
    let ids: Vec<i64> =
        list["items"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [1]);
}

#[tokio::test]
async fn denials_and_readings_are_in_the_access_log_without_patient_names() {
    let site = Site::new();
    let reader = site.session("reader", &[Reader]).await;
    let monitor = site.session("monitor", &[Monitor]).await;
    site.get(&reader, "/worklist/1/study").await;
    site.get(&reader, "/worklist/2/study").await;
    site.get(&monitor, "/worklist/1/study").await;
    site.send(request(Method::GET, None, "/worklist/1/study", "")).await;
    let log: Vec<_> = site
        .desk
        .accesses()
        .into_iter()
        .map(|a| (a.who.unwrap().to_string(), a.subject, a.allowed))
        .collect();
    let line =
        |who: &str, item: u8, allowed| (who.to_owned(), format!("/api/v1/worklist/{item}/study"), allowed);
    assert_eq!(log, [line("reader", 1, true), line("reader", 2, false), line("monitor", 1, false)]);
}

#[tokio::test]
async fn the_author_cannot_audit_his_own_report() {
    let site = Site::new();
    let token = site.session("author", &[Reader, Reviewer]).await;
    site.post(&token, "/worklist/1/claim", "").await;
    site.send(request(Method::PUT, Some(&token), "/worklist/1/draft", DRAFT)).await;
    assert_eq!(site.post(&token, "/worklist/1/sign", SIGN).await.status, StatusCode::OK);
    let answer = site.post(&token, "/worklist/1/audit", SIGN).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::FORBIDDEN, "REVIEWER_IS_AUTHOR"));
}
