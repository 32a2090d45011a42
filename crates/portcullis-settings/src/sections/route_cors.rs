//! Which side answers CORS on a route, and the headers that the route adds to the gateway's lists.

use http::HeaderName;
use portcullis_model::InvalidInput;
use portcullis_model::policy::CorsPolicy;

use crate::engine::key::{DefaultValue, Key};
use crate::engine::reader::Reader;
use crate::engine::values::one_of;

pub(crate) static CORS: Key = Key::live(
    "cors",
    DefaultValue::Text("gateway"),
    "`gateway` or `upstream`",
    "Which side answers CORS. `gateway`: the lists of `[cors]` and of the route hold, and what the upstream says is removed, except for the headers that it exposes. `upstream`: its answers pass unchanged, and it receives preflights without credential and identity.",
);
pub(crate) static REQUEST_HEADERS: Key = Key::live(
    "cors_request_headers",
    DefaultValue::Described("none"),
    "list of names",
    "Request headers that pages of allowed origins may send, besides those of docs/contract.md.",
);
pub(crate) static EXPOSE_HEADERS: Key = Key::live(
    "cors_expose_headers",
    DefaultValue::Described("none"),
    "list of names",
    "Response headers that pages of allowed origins may read, besides those of docs/contract.md and those that the upstream exposes.",
);

pub(crate) fn read(section: &mut Reader<'_, '_>) -> CorsPolicy {
    let gateway_answers = section.value(&CORS, |text| one_of(text, &[("gateway", true), ("upstream", false)]));
    let request_headers = section.list(&REQUEST_HEADERS, parse_name);
    let expose_headers = section.list(&EXPOSE_HEADERS, parse_name);
    if gateway_answers {
        return CorsPolicy::Gateway { request_headers, expose_headers };
    }
    for key in [&REQUEST_HEADERS, &EXPOSE_HEADERS] {
        if section.node(key).is_some() {
            section.reject(key, "has no effect where the upstream answers CORS", "remove it, or cors = \"upstream\"");
        }
    }
    CorsPolicy::Upstream
}

fn parse_name(text: &str) -> Result<String, InvalidInput> {
    if text == "*" {
        return Err(InvalidInput("`*` means nothing for requests with credentials; name each header".to_owned()));
    }
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(InvalidInput("write the name of a header (X-Total-Count)".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{refused, settings};

    fn file(lines: &str) -> String {
        format!(
            "[upstreams.p]\ntargets = [\"http://127.0.0.1:1\"]\n[[routes]]\nupstream = \"p\"\npath = \"/api/v1/p\"\n{lines}\n"
        )
    }

    fn policy(lines: &str) -> CorsPolicy {
        settings(&file(lines), &[]).routes[0].policy.cors.clone()
    }

    #[test]
    fn the_gateway_answers_cors_unless_the_route_says_otherwise() {
        assert_eq!(policy(""), CorsPolicy::default());
        assert_eq!(policy("cors = \"upstream\""), CorsPolicy::Upstream);
        let lists = policy("cors_request_headers = [\"X-Tenant\"]\ncors_expose_headers = [\"X-Total\", \"X-Page\"]");
        let (request_headers, expose_headers) =
            (vec!["X-Tenant".to_owned()], vec!["X-Total".to_owned(), "X-Page".to_owned()]);
        assert_eq!(lists, CorsPolicy::Gateway { request_headers, expose_headers });
    }

    #[test]
    fn a_list_without_effect_or_with_another_text_is_refused() {
        for (lines, hint) in [
            ("cors = \"both\"", "write gateway or upstream"),
            ("cors_request_headers = [\"*\"]", "name each header"),
            ("cors_expose_headers = [\"X Total\"]", "write the name of a header"),
            ("cors = \"upstream\"\ncors_expose_headers = [\"X-Total\"]", "remove it, or cors = \"upstream\""),
        ] {
            let message = refused(&file(lines), &[]);
            assert!(message.contains(hint) && message.matches("hint:").count() == 1, "{lines}: {message}");
        }
    }
}
