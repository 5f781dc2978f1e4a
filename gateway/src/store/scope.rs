//! Whose data a query may see. An argument of every query; the clause is in the query, not in the caller.

use relay_core::ids::ClinicId;

/// Whose data a query may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The county's own background work and its operator on the machine.
    County,
    /// These clinics; for a clinic itself, exactly one.
    Clinics(Vec<ClinicId>),
}

impl Scope {
    /// One clinic.
    #[must_use]
    pub fn clinic(clinic: &ClinicId) -> Self {
        Self::Clinics(vec![clinic.clone()])
    }

    /// The value to bind for the clause `($n IS NULL OR clinic IN (SELECT value FROM json_each($n)))`.
    #[must_use]
    pub fn bind(&self) -> Option<String> {
        match self {
            Self::County => None,
            Self::Clinics(clinics) => {
                let names: Vec<&str> = clinics.iter().map(ClinicId::as_str).collect();
                Some(serde_json::json!(names).to_string())
            }
        }
    }

    /// True when a row of this clinic may be seen.
    #[must_use]
    pub fn allows(&self, clinic: &ClinicId) -> bool {
        match self {
            Self::County => true,
            Self::Clinics(clinics) => clinics.contains(clinic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_clinic_binds_an_empty_list_and_not_the_county() {
        assert_eq!(Scope::Clinics(vec![]).bind().as_deref(), Some("[]"));
        assert_eq!(Scope::County.bind(), None);
    }
}
