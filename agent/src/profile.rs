//! The profiles that clients ask for by name, as what `entry` plans a session by.

/// What `entry` calls `profile`.
#[must_use]
pub fn planned(profile: wire::Profile) -> entry::Profile {
    match profile {
        wire::Profile::Restricted => entry::Profile::Restricted,
        wire::Profile::Baseline => entry::Profile::Baseline,
        wire::Profile::General => entry::Profile::General,
        wire::Profile::Netadmin => entry::Profile::Netadmin,
        wire::Profile::Sysadmin => entry::Profile::Sysadmin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_and_requests_have_the_same_names_in_the_same_order() {
        let planned = wire::Profile::ALL.map(planned);
        assert_eq!(planned.map(|it| it.to_string()), wire::Profile::ALL.map(|it| it.to_string()));
        assert!(planned.is_sorted());
    }
}
