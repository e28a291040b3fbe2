//! The decision as an attacker meets it: whole logins, one thing bent at a time.

mod fixture;
mod mapping;
mod receipts;
mod token;
mod weaknesses;

use fixture::{Case, Issuer};

#[test]
fn a_login_that_holds_is_granted_for_every_algorithm() {
    for issuer in [Issuer::rs256(), Issuer::es256(), Issuer::eddsa()] {
        let case = Case::new(issuer);
        let grant = case.decide().unwrap();
        assert_eq!(grant.id.as_str(), "alice@example.com");
        assert_eq!(grant.temporary, fixture::temporary(1));
        assert_eq!((grant.index.batch(), grant.index.position()), (3, 5));
        assert_eq!(grant.share, fixture::temporary(102));
        assert_eq!(grant.issued_at, fixture::NOW - 10);
        assert_eq!(grant.time, fixture::NOW * 1000);
    }
}
