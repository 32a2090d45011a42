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
