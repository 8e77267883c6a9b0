//! What replicas share of certificates, and when it has to change: pure, by the clock alone.
//!
//! A successor's CA is published well before its certificate is shown, and a predecessor's CA stays
//! well after: at no moment is a certificate shown that a client does not trust yet. What nobody can
//! believe, because a clock was wrong or there is no use in it, goes at once.

use std::collections::BTreeMap;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::issue::{BACKDATED, Pair, issue};

const AUTHORITY: &str = "ca.crt";
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
const NEXT: &str = "next-";
const PREVIOUS_AUTHORITY: &str = "previous-ca.crt";

/// Everything that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// What is shown.
    pub(super) current: Pair,
    /// What will be.
    next: Option<Pair>,
    /// Who signed what was shown before.
    previous: Option<String>,
}

/// How long certificates are good for, and for whom.
#[derive(Clone, Debug)]
pub(super) struct CertificateSettings {
    pub(super) names: Vec<String>,
    pub(super) lifetime: Duration,
}

/// How far a certificate is in its own life, whatever lifetimes are asked for by now: replicas of two
/// configurations agree.
#[derive(Clone, Copy, Debug)]
struct Age {
    since: Duration,
    life: Duration,
}

/// The content of a Secret.
pub(super) type SecretData = BTreeMap<String, Vec<u8>>;

/// Certificates have no fractions of a second.
const ROUNDED: Duration = Duration::seconds(2);

impl CertificateSettings {
    fn fresh(&self, now: OffsetDateTime) -> Result<Pair, rcgen::Error> {
        issue(&self.names, now, self.lifetime)
    }

    /// How old a certificate is; none where it is of no use now: unreadable, not for these names, not
    /// valid yet, or over.
    fn age(&self, pair: &Pair, now: OffsetDateTime) -> Option<Age> {
        let CertificateFacts { names, begins, ends } = read(&pair.chain)?;
        let for_all = self.names.iter().all(|name| names.contains(name));
        let made = begins + BACKDATED;
        let age = Age { since: now - made, life: ends - made };
        (for_all && (begins..ends).contains(&now)).then_some(age)
    }

    /// Whether it was made when lifetimes were longer.
    fn outlasts(&self, age: Age) -> bool {
        age.life > self.lifetime + ROUNDED
    }
}

impl Age {
    /// How long a successor is known before it is shown: files are projected into pods within two
    /// minutes, and of 90 days this is a week.
    fn overlap(self) -> Duration {
        self.life / 12
    }

    fn left(self) -> Duration {
        self.life - self.since
    }
}

impl Stored {
    /// Everybody who may have signed what is shown now or soon, or was a moment ago.
    pub(super) fn bundle(&self) -> String {
        let Self { current, next, previous } = self;
        let next = next.as_ref().map(|next| next.authority.as_str());
        let all = [Some(current.authority.as_str()), next, previous.as_deref()];
        let ended = all.into_iter().flatten().flat_map(|pem| [pem.trim_end(), "\n"]);
        ended.collect()
    }

    /// What has to be stored instead of `stored`, if something has to.
    pub(super) fn successor(
        stored: Option<&Self>,
        terms: &CertificateSettings,
        now: OffsetDateTime,
    ) -> Result<Option<Self>, rcgen::Error> {
        let Some(stored) = stored else {
            return Ok(Some(Self { current: terms.fresh(now)?, next: None, previous: None }));
        };
        let Self { current, next, previous } = stored;
        let age = terms.age(current, now);
        let staged = next.as_ref().and_then(|next| Some((next, terms.age(next, now)?)));
        match staged {
            // One that is of no use itself, or for too long, is none.
            Some((next, known)) if !terms.outlasts(known) => {
                // Halfway to the end of what is shown at the latest, should lifetimes have got longer.
                let turn = age.is_none_or(|age| known.since >= known.overlap().min(age.left()));
                Ok(turn.then(|| Self {
                    current: next.clone(),
                    next: None,
                    previous: Some(current.authority.clone()),
                }))
            }
            _ if age.is_none_or(|age| age.since >= age.life * 2 / 3 || terms.outlasts(age)) => {
                Ok(Some(Self { next: Some(terms.fresh(now)?), ..stored.clone() }))
            }
            _ if previous.is_some() && age.is_some_and(|age| age.since >= age.life / 2) => {
                Ok(Some(Self { previous: None, ..stored.clone() }))
            }
            _ => Ok(None),
        }
    }

    /// How long it takes until what is shown is valid, where it is not valid yet.
    pub(super) fn early(&self, now: OffsetDateTime) -> Option<Duration> {
        let early = read(&self.current.chain)?.begins - now;
        early.is_positive().then_some(early)
    }

    /// What a Secret holds, if it holds all of it.
    pub(super) fn read(data: &SecretData) -> Option<Self> {
        let text = |key: &str| {
            let value = data.get(key).filter(|value| !value.is_empty())?;
            String::from_utf8(value.clone()).ok()
        };
        let pair = |prefix: &str| {
            let text = |key| text(&format!("{prefix}{key}"));
            Some(Pair { authority: text(AUTHORITY)?, chain: text(CHAIN)?, key: text(KEY)? })
        };
        let current = pair("")?;
        Some(Self { current, next: pair(NEXT), previous: text(PREVIOUS_AUTHORITY) })
    }

    /// The content of a Secret.
    pub(super) fn write(&self) -> SecretData {
        let Self { current, next, previous } = self;
        let mut data = SecretData::new();
        let pairs = [("", Some(current)), (NEXT, next.as_ref())];
        for (prefix, pair) in pairs.into_iter().filter_map(|(prefix, pair)| Some((prefix, pair?))) {
            for (key, value) in
                [(AUTHORITY, &pair.authority), (CHAIN, &pair.chain), (KEY, &pair.key)]
            {
                data.insert(format!("{prefix}{key}"), value.clone().into_bytes());
            }
        }
        if let Some(previous) = previous {
            data.insert(PREVIOUS_AUTHORITY.to_owned(), previous.clone().into_bytes());
        }
        data
    }
}

/// What is read of a certificate.
struct CertificateFacts {
    names: Vec<String>,
    begins: OffsetDateTime,
    ends: OffsetDateTime,
}

fn read(chain: &str) -> Option<CertificateFacts> {
    let certificate = CertificateDer::from_pem_slice(chain.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let validity = certificate.validity();
    let (begins, ends) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    Some(CertificateFacts { names: names.collect(), begins, ends })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_800_000_000;

    fn terms() -> CertificateSettings {
        let names = vec!["gateway.nsdebug.svc".to_owned(), "agents.nsdebug.svc".to_owned()];
        CertificateSettings { names, lifetime: Duration::days(90) }
    }

    fn day(day: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(START).expect("a time") + Duration::days(day)
    }

    fn successor(stored: Option<&Stored>, at: i64) -> Option<Stored> {
        Stored::successor(stored, &terms(), day(at)).expect("certificates")
    }

    #[test]
    fn a_successor_is_known_before_it_is_shown_and_the_predecessor_after() {
        let first = successor(None, 0).expect("the first");
        assert_eq!(successor(Some(&first), 59), None);
        let staged = successor(Some(&first), 61).expect("a successor");
        assert_eq!(staged.current, first.current, "not shown yet");
        assert_eq!(staged.bundle().matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(successor(Some(&staged), 67), None);
        let second = successor(Some(&staged), 69).expect("its turn");
        assert!(second.current != first.current && second.next.is_none());
        assert!(second.bundle().contains(first.current.authority.trim_end()));
        assert_eq!(successor(Some(&second), 100), None);
        let alone = successor(Some(&second), 107).expect("one CA less");
        assert_eq!(alone.bundle().matches("BEGIN CERTIFICATE").count(), 1);
        assert_eq!(alone.current, second.current);
    }

    #[test]
    fn what_slept_too_long_catches_up_at_once() {
        let first = successor(None, 0).expect("the first");
        let staged = successor(Some(&first), 200).expect("a successor");
        let second = successor(Some(&staged), 200).expect("its turn at once");
        assert!(second.current != first.current);
        assert_eq!(successor(Some(&second), 201), None);
    }

    #[test]
    fn another_name_is_another_certificate() {
        let first = successor(None, 0).expect("the first");
        let mut terms = terms();
        terms.names.push("new.nsdebug.svc".to_owned());
        let staged = Stored::successor(Some(&first), &terms, day(1)).expect("certificates");
        let second = Stored::successor(staged.as_ref(), &terms, day(1)).expect("certificates");
        let read = read(&second.expect("its turn").current.chain).expect("a certificate");
        assert_eq!(read.names, terms.names);
    }

    #[test]
    fn a_shorter_lifetime_replaces_what_would_outlast_it_and_waits_until_that_is_known() {
        let first = successor(None, 0).expect("the first");
        let terms = CertificateSettings { lifetime: Duration::days(12), ..terms() };
        let at = |stored: &Stored, at| Stored::successor(Some(stored), &terms, at).expect("pairs");
        let staged = at(&first, day(1)).expect("a successor");
        assert_eq!(staged.current, first.current, "not shown yet");
        assert_eq!(at(&staged, day(1) + Duration::hours(23)), None);
        let second = at(&staged, day(2)).expect("its turn");
        assert!(second.current != first.current && second.next.is_none());
        assert_eq!(at(&second, day(3)), None);
        // Replicas that have not heard of it agree.
        assert_eq!(successor(Some(&staged), 1), None);
        assert_eq!(successor(Some(&second), 3), None);
        // As was one that was to follow.
        let staged = successor(Some(&first), 61).expect("a successor");
        let shorter = at(&staged, day(62)).expect("another successor");
        assert!(shorter.next.is_some() && shorter.next != staged.next);
    }

    #[test]
    fn a_longer_lifetime_does_not_wait_for_the_end_of_what_is_shown() {
        let short = CertificateSettings { lifetime: Duration::minutes(20), ..terms() };
        let first = Stored::successor(None, &short, day(0)).expect("pairs").expect("the first");
        let at = |stored: &Stored, minutes| {
            let at = day(0) + Duration::minutes(minutes);
            Stored::successor(Some(stored), &terms(), at).expect("pairs")
        };
        assert_eq!(at(&first, 13), None);
        let staged = at(&first, 14).expect("a successor");
        assert_eq!(at(&staged, 16), None);
        assert!(at(&staged, 18).is_some_and(|second| second.current != first.current));
    }

    #[test]
    fn clocks_that_differ_by_an_hour_make_no_difference() {
        let first = successor(None, 0).expect("the first");
        for hours in [-1, 1] {
            let at = day(0) + Duration::hours(hours);
            assert_eq!(Stored::successor(Some(&first), &terms(), at).expect("pairs"), None);
            assert_eq!(first.early(at), None, "a client accepts it");
        }
    }

    #[test]
    fn what_was_made_by_a_clock_far_ahead_goes_before_it_is_valid() {
        let first = successor(None, 0).expect("the first");
        let at =
            |stored: &Stored, at| Stored::successor(Some(stored), &terms(), at).expect("pairs");
        let right = day(0) - Duration::hours(3);
        assert_eq!(first.early(right), Some(Duration::hours(1)));
        let staged = at(&first, right).expect("a successor");
        let second = at(&staged, right).expect("its turn at once");
        assert_eq!(second.early(right), None);
        assert_eq!(at(&second, right), None);
        // Nor does the clock that was wrong find fault with it.
        assert_eq!(at(&second, day(0)), None);
    }

    #[test]
    fn a_successor_that_is_not_valid_yet_is_never_shown() {
        let first = successor(None, 0).expect("the first");
        let ahead = successor(Some(&first), 65).expect("a successor");
        let right = day(62);
        let again = Stored::successor(Some(&ahead), &terms(), right).expect("pairs");
        let again = again.expect("another successor");
        assert!(again.current == first.current && again.next != ahead.next);
        assert_eq!(Stored::successor(Some(&again), &terms(), right).expect("pairs"), None);
    }

    #[test]
    fn a_secret_holds_all_of_it_and_half_a_one_nothing() {
        let first = successor(None, 0).expect("the first");
        let staged = successor(Some(&first), 61).expect("a successor");
        let second = successor(Some(&staged), 69).expect("its turn");
        for stored in [&first, &staged, &second] {
            assert_eq!(Stored::read(&stored.write()).as_ref(), Some(stored));
        }
        let mut half = first.write();
        half.remove("tls.key");
        assert_eq!(Stored::read(&half), None);
        assert_eq!(Stored::read(&SecretData::new()), None);
    }
}
