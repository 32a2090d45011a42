//! Builds a gateway in front of [`proxied::upstream`], for tests of what happens on the way there.

use portcullis_testkit::{TestApp, TestAppBuilder};

use crate::client::app;
use crate::proxied;

/// A gateway with two routes to the upstream: `/api/v1/open/…` needs no credential, `/api/v1/closed/…` needs a user and
/// a CSRF token.
pub(crate) struct GatewayBuilder {
    app: TestAppBuilder,
    server: String,
    open_route: String,
    closed_route: String,
}

pub(crate) fn gateway() -> GatewayBuilder {
    GatewayBuilder { app: app(), server: String::new(), open_route: String::new(), closed_route: String::new() }
}

impl GatewayBuilder {
    /// Sets keys of `[server]`.
    pub(crate) fn server(self, keys: &str) -> Self {
        Self { server: keys.to_owned(), ..self }
    }

    /// Sets further keys of the open route.
    pub(crate) fn open_route(self, keys: &str) -> Self {
        Self { open_route: keys.to_owned(), ..self }
    }

    /// Sets further keys of the closed route.
    pub(crate) fn closed_route(self, keys: &str) -> Self {
        Self { closed_route: keys.to_owned(), ..self }
    }

    /// Listens on this port instead of a free one, and so without the line that announces the address.
    pub(crate) fn port(self, port: u16) -> Self {
        Self { app: self.app.env("PORT", port.to_string()), ..self }
    }

    pub(crate) async fn start(self) -> TestApp {
        let Self { app, server, open_route, closed_route } = self;
        let (upstream, _) = proxied::upstream().await;
        let settings = format!(
            "[server]\n{server}\n[upstreams.u]\ntargets = [\"http://{upstream}\"]\n\
             [[routes]]\npath = \"/api/v1/open/{{*rest}}\"\nupstream = \"u\"\nauth = \"none\"\ncsrf = false\n{open_route}\n\
             [[routes]]\npath = \"/api/v1/closed/{{*rest}}\"\nupstream = \"u\"\n{closed_route}\n"
        );
        app.settings(&settings).start()
    }
}
