//! The headers that tell browsers to be careful, on every answer (requirement 29).

use crate::client::{app, client, get, send};
use crate::proxied::upstream;

#[tokio::test]
async fn sr_29_every_answer_tells_browsers_to_be_careful_and_an_upstreams_own_words_count() {
    let (upstream, _) = upstream().await;
    let settings = format!(
        "[headers]\nhsts = \"365d\"\n[upstreams.u]\ntargets = [\"http://{upstream}\"]\n\
         [[routes]]\npath = \"/api/v1/careful/{{*rest}}\"\nupstream = \"u\"\nauth = \"none\"\n\
         [[routes]]\npath = \"/api/v1/plain/{{*rest}}\"\nupstream = \"u\"\nauth = \"none\"\nsecurity_headers = false\n"
    );
    let app = app().settings(&settings).start();
    for path in
        ["/api/v1/health", "/api/v1/nowhere", "/api/v1/auth/profile", "/metrics", "/api/v1/careful/x", "/api/%2f"]
    {
        let answer = get(&app, path).await;
        for (name, value) in [
            ("strict-transport-security", "max-age=31536000"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "strict-origin-when-cross-origin"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
    }
    let own = send(client().get(app.url("/api/v1/careful/framed"))).await;
    assert_eq!(own.header("content-security-policy"), "frame-ancestors https://partner.example");
    assert_eq!((own.header("x-frame-options"), own.header("x-content-type-options")), ("", "nosniff"));
    let plain = get(&app, "/api/v1/plain/x").await;
    assert_eq!((plain.status, plain.header("x-content-type-options")), (200, ""), "the route left them out");
    let setup = get(&app, "/setup").await;
    assert!(setup.header("content-security-policy").contains("script-src 'sha256-"), "the page's own policy is gone");
}

#[tokio::test]
async fn the_api_describes_itself_to_programs_and_to_people() {
    let app = app().start();
    for path in ["/api/docs.json", "/api/v1/docs.json"] {
        let answer = get(&app, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        assert_eq!(answer.body["openapi"], "3.1.0");
        assert!(answer.body["paths"]["/api/v1/auth/login"]["post"]["responses"]["401"].is_object());
        let tag = answer.header("etag").to_owned();
        let again = send(client().get(app.url(path)).header("if-none-match", &tag)).await;
        assert_eq!((again.status, again.header("etag")), (304, tag.as_str()));
        assert_eq!(again.body, "");
    }
    let page = get(&app, "/api/docs").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"), "{:?}", page.headers);
    let text = page.body.as_str().expect("a page");
    assert!(text.contains("Sign in") && text.contains("/api/v1/auth/login"));
}
