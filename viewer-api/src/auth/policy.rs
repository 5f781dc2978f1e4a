//! Which roles a route admits. A handler that takes a [`Caller`] cannot run without session and role.

use super::session::Current;
use crate::desk::{Reader, Role, Session};
use crate::problem::Problem;
use axum::extract::FromRequestParts;
use http::request::Parts;
use relay_core::codes::Code;
use std::marker::PhantomData;

/// A set of roles, as a type.
pub trait Policy: Send + Sync + 'static {
    /// Any of these is enough; empty: any session.
    const ROLES: &'static [Role];
}

macro_rules! policies {
    ($($(#[$doc:meta])* $name:ident [$($role:ident),*];)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $name;
            impl Policy for $name {
                const ROLES: &'static [Role] = &[$(Role::$role),*];
            }
        )+
    };
}

policies! {
    /// Any logged-in person.
    Anyone [];
    /// Sees patients: worklist, studies, images, reports.
    Views [Reader, Reviewer, Clinician];
    /// Works on items: claims, drafts, signs as author, raises, sends back.
    Reads [Reader, Reviewer];
    /// Signs as second person.
    Audits [Reviewer];
    /// Sees that something happened, without names.
    Listens [Reader, Reviewer, Clinician, Monitor, Administrator];
    /// Sees counts, without names.
    Watches [Monitor, Administrator];
    /// Manages accounts and clinics.
    Administers [Administrator];
}

/// A person who has a session and one of the roles of `P`.
#[derive(Debug)]
pub struct Caller<P: Policy> {
    /// The session.
    pub session: Session,
    policy: PhantomData<P>,
}

impl<P: Policy> Caller<P> {
    /// The person, as the desk wants it.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.session.reader
    }
}

impl<S: Send + Sync, P: Policy> FromRequestParts<S> for Caller<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let session = parts.extensions.get::<Current>().and_then(|current| current.session.clone());
        let Some(session) = session else {
            return Err(Problem::new(Code::Unauthenticated, "session", "no session, or it has ended"));
        };
        if !P::ROLES.is_empty() && !session.reader.roles.iter().any(|role| P::ROLES.contains(role)) {
            return Err(Problem::new(Code::Forbidden, "role", "the role does not allow it"));
        }
        Ok(Self { session, policy: PhantomData })
    }
}
