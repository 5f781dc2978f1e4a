//! County CA, enrolment, revocation, signatures
