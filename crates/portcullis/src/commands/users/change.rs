//! `portcullis users disable`, `enable`, `set-role` and `reset`.

use portcullis_identity::{Actor, Caller, Identity, UserProfileInput};
use portcullis_model::{Role, User};
use serde_json::json;

use super::{describe, parse_role, show};
use crate::commands::Format;
use crate::commands::output::{Failure, print, print_json};

#[derive(clap::Args, Debug)]
pub(crate) struct UserArgument {
    /// The e-mail address or id of the user
    user: String,
    #[command(flatten)]
    format: Format,
}

#[derive(clap::Args, Debug)]
pub(crate) struct SetRole {
    /// The e-mail address or id of the user
    user: String,
    /// The role: VIEWER, TESTER, DEVELOPER, MANAGER or ADMIN
    #[arg(value_parser = parse_role)]
    role: Role,
    #[command(flatten)]
    format: Format,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Reset {
    /// The e-mail address or id of the user
    user: String,
    /// Print the link instead of mailing it
    #[arg(long)]
    print_link: bool,
    #[command(flatten)]
    format: Format,
}

pub(crate) async fn set_active(identity: &Identity, arguments: &UserArgument, active: bool) -> Result<(), Failure> {
    let user = find(identity, &arguments.user).await?;
    let input = UserProfileInput { is_active: Some(active), ..UserProfileInput::default() };
    let changed = identity.administration.edit(&Actor::Shell, user.id, input, &Caller::shell()).await;
    show(&changed.map_err(|error| describe(&error))?, arguments.format, if active { "Enabled" } else { "Disabled" });
    Ok(())
}

pub(crate) async fn set_role(identity: &Identity, arguments: &SetRole) -> Result<(), Failure> {
    let user = find(identity, &arguments.user).await?;
    let changed = identity.administration.set_role(&Actor::Shell, user.id, arguments.role, &Caller::shell()).await;
    show(&changed.map_err(|error| describe(&error))?, arguments.format, "Changed");
    Ok(())
}

pub(crate) async fn reset(identity: &Identity, arguments: &Reset) -> Result<(), Failure> {
    let user = find(identity, &arguments.user).await?;
    if arguments.print_link {
        let link = identity.passwords.reset_link(user.id, &Caller::shell()).await.map_err(|error| describe(&error))?;
        if arguments.format.json {
            print_json(&json!({ "link": link.expose() }));
        } else {
            print(&format!("{}\n", link.expose()));
        }
        return Ok(());
    }
    identity.passwords.mail_reset_link(user.id, &Caller::shell()).await.map_err(|error| describe(&error))?;
    show(&user, arguments.format, "Sent a link to set a new password to");
    Ok(())
}

async fn find(identity: &Identity, name: &str) -> Result<User, Failure> {
    let found = identity.administration.find(name).await.map_err(|error| describe(&error))?;
    found.ok_or_else(|| {
        Failure::new(format!("no user has the e-mail address or id {name}"))
            .hint("find users by a part of their e-mail address or username with `portcullis users list --search`")
    })
}
