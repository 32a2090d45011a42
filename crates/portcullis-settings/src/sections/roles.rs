//! `[roles]`: permissions that the operator adds to roles.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::input::did_you_mean;
use portcullis_model::permission::BUILT_IN;
use portcullis_model::{Permission, Role, RolePermissions};

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Place, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::Table;
use crate::sections::registration::{Registration, RegistrationMode};
use crate::sections::routes::Route;

const fn role(name: &'static str, about: &'static str) -> Key {
    Key::live(name, DefaultValue::Described("none"), "list of permissions", about)
}

static VIEWER: Key = role("VIEWER", "Permissions that a VIEWER holds; higher roles do not inherit them.");
static TESTER: Key = role("TESTER", "Permissions that a TESTER holds. The former gateway granted `USER_VIEW`.");
static DEVELOPER: Key = role(
    "DEVELOPER",
    "Permissions that a DEVELOPER holds, and with open registration everybody. The former gateway granted `USER_VIEW` and \
     `SYSTEM_VIEW_LOGS`.",
);
static MANAGER: Key = role("MANAGER", "Permissions that a MANAGER holds in addition to the built-in ones.");
static ADMIN: Key =
    role("ADMIN", "More permissions. An ADMIN holds every permission that is named anywhere in the settings.");

pub(crate) static SECTION: Section = Section {
    name: "roles",
    about: "\
The names of your own permissions have the form of the built-in ones: a capital letter, then capitals, digits
and `_`.",
    keys: &[&VIEWER, &TESTER, &DEVELOPER, &MANAGER, &ADMIN],
};

/// The permissions that the settings add to each role.
pub(crate) struct Granted {
    by_role: BTreeMap<Role, Vec<Permission>>,
    /// Where the settings name the role of users who register themselves.
    of_registrants: Place,
}

/// Reads the permissions that the file adds to each role.
pub(crate) fn read(tree: &Table, problems: &mut Problems) -> Granted {
    let mut section = Reader::open(tree, &SECTION, problems);
    let keys = [&VIEWER, &TESTER, &DEVELOPER, &MANAGER, &ADMIN];
    let by_role =
        Role::ALL.into_iter().zip(keys).map(|(role, key)| (role, section.list(key, Permission::parse))).collect();
    Granted { by_role, of_registrants: section.place_of(&DEVELOPER) }
}

/// Warns of built-in permissions for the role of users who register themselves: with them anybody reads about other users
/// (SR-61).
pub(crate) fn warn_of_registrants(granted: &Granted, registration: &Registration, warnings: &mut Vec<Notice>) {
    let role = Role::OF_REGISTRANTS;
    let names: Vec<&str> = granted.by_role.get(&role).into_iter().flatten().map(Permission::as_str).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| BUILT_IN.contains(name)).collect();
    if registration.mode != RegistrationMode::Open || names.is_empty() {
        return;
    }
    let message = format!(
        "everybody who registers is a {role} and gets {}, which lets them read about other users",
        names.join(", ")
    );
    let hint =
        "give them to a role that an administrator assigns, such as MANAGER, or set registration.mode = \"invite\"";
    warnings.push(Notice::new(&granted.of_registrants, message).hint(hint));
}

/// Returns the permissions of each role: the built-in ones, the granted ones, and for `ADMIN` those that routes require.
/// Warns of a permission that no other role holds.
pub(crate) fn permissions(granted: Granted, routes: &[Route], warnings: &mut Vec<Notice>) -> RolePermissions {
    let mut granted = granted.by_role;
    let known: BTreeSet<Permission> = granted.values().flatten().cloned().collect();
    let mut required = BTreeSet::new();
    for route in routes {
        let permissions = &route.policy.permissions;
        for permission in permissions.always.iter().chain(permissions.by_method.values().flatten()) {
            let name = permission.as_str();
            if BUILT_IN.contains(&name) || known.contains(permission) || !required.insert(permission.clone()) {
                continue;
            }
            let hint = match did_you_mean(name, BUILT_IN.into_iter().chain(known.iter().map(Permission::as_str))) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("grant it to a role: [roles], then DEVELOPER = [\"{name}\"]"),
            };
            let message = format!("the route {} requires {name}, which only ADMIN holds", route.path);
            warnings.push(Notice::new(&route.place, message).hint(hint));
        }
    }
    granted.entry(Role::Admin).or_default().extend(required);
    RolePermissions::with_grants(&granted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{refused, settings};

    const ROUTE: &str =
        "[upstreams.p]\ntargets = [\"http://127.0.0.1:1\"]\n[[routes]]\npath = \"/api/v1/p\"\nupstream = \"p\"\n";

    #[test]
    fn roles_are_granted_permissions_and_admin_holds_all() {
        let file = format!("{ROUTE}permissions = [\"P_VEIW\"]\n[roles]\nDEVELOPER = [\"P_VIEW\"]\n");
        let settings = settings(&file, &[]);
        let holds = |role, name: &str| settings.roles.of(role).iter().any(|permission| permission.as_str() == name);
        assert!(holds(Role::Developer, "P_VIEW") && !holds(Role::Manager, "P_VIEW"));
        assert!(holds(Role::Admin, "P_VIEW") && holds(Role::Admin, "P_VEIW"));
        let warning = settings.warnings[0].to_string();
        assert!(warning.contains("requires P_VEIW, which only ADMIN holds\n  hint: did you mean P_VIEW"), "{warning}");
    }

    #[test]
    fn the_environment_grants_permissions_too() {
        let settings = settings("", &[("PORTCULLIS__ROLES__TESTER", "P_VIEW,P_EDIT")]);
        assert_eq!(settings.roles.of(Role::Tester).len(), 2);
    }

    #[test]
    fn sr_61_rights_of_registrants_over_others_get_a_warning() {
        let warned =
            |file: &str| -> Vec<String> { settings(file, &[]).warnings.iter().map(ToString::to_string).collect() };
        let roles = "[roles]\nDEVELOPER = [\"USER_VIEW\", \"P_VIEW\", \"SYSTEM_VIEW_LOGS\"]\n";
        let warnings = warned(roles);
        assert!(warnings.len() == 1 && warnings[0].contains("gets USER_VIEW, SYSTEM_VIEW_LOGS, which"), "{warnings:?}");
        assert!(warnings[0].starts_with("portcullis.toml:2: ") && warnings[0].contains("hint: "), "{warnings:?}");
        assert_eq!(warned(&format!("{roles}[registration]\nmode = \"invite\"\n")), [""; 0]);
        assert_eq!(warned("[roles]\nDEVELOPER = [\"P_VIEW\"]\nTESTER = [\"USER_VIEW\"]\n"), [""; 0]);
        assert_eq!(warned(""), [""; 0]);
    }

    #[test]
    fn unknown_roles_and_malformed_permissions_are_refused() {
        let message = refused("[roles]\nDEVELOPPER = []\nTESTER = [\"view\"]\n", &[]);
        assert!(
            message
                .contains("portcullis.toml:2: unknown key `DEVELOPPER` in [roles]\n  hint: did you mean `DEVELOPER`?"),
            "{message}"
        );
        assert!(
            message.contains("portcullis.toml:3: roles.TESTER = \"view\" cannot be used\n  hint: A permission is"),
            "{message}"
        );
    }
}
