//! What the unit tests of this crate share.

mod path_spellings;

use portcullis_model::policy::{AuthRequirement, RoutePolicy};

pub(crate) fn policy(auth: AuthRequirement) -> RoutePolicy {
    RoutePolicy::requiring(auth)
}
