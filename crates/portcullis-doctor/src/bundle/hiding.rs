//! Takes known secrets out of a text, in every form in which programs write them.

use portcullis_model::SecretString;

/// Stands in a bundle for what was taken out.
pub const HIDDEN: &str = "[hidden]";

/// A shorter text is no secret that could be told from a word, and taking it out would spoil the bundle.
const SHORTEST: usize = 6;

/// Takes secrets out of texts.
pub(super) struct Hider {
    /// The longest first, so that a secret within another leaves no rest of it.
    forms: Vec<SecretString>,
}

impl Hider {
    pub(super) fn new(secrets: &[SecretString]) -> Self {
        let mut forms: Vec<String> = secrets.iter().flat_map(|secret| forms(secret.expose())).collect();
        forms.retain(|form| form.len() >= SHORTEST);
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms: forms.into_iter().map(SecretString::new).collect() }
    }

    pub(super) fn hide(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| match text.contains(form.expose()) {
            true => text.replace(form.expose(), HIDDEN),
            false => text,
        })
    }
}

/// A secret as it is, within JSON, within a URL, and in base64 as of HTTP's and SMTP's credentials.
fn forms(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).unwrap_or_default();
    // Without the quotes around it.
    let json = json.get(1..json.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let spaces_in_percent = encoded.replace('+', "%20");
    vec![secret.to_owned(), json, encoded, spaces_in_percent, base64_of(secret)]
}

fn base64_of(secret: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(secrets: &[&str], text: &str) -> String {
        Hider::new(&secrets.iter().map(|secret| SecretString::new(*secret)).collect::<Vec<_>>()).hide(text)
    }

    #[test]
    fn each_form_of_a_secret_is_taken_out() {
        let secret = "p@ss \"word\"";
        for text in
            ["p@ss \"word\"", "p@ss \\\"word\\\"", "p%40ss+%22word%22", "p%40ss%20%22word%22", "cEBzcyAid29yZCI="]
        {
            assert_eq!(hidden(&[secret], &format!("a {text} b")), "a [hidden] b");
        }
    }

    #[test]
    fn a_secret_within_another_leaves_no_rest() {
        assert_eq!(hidden(&["hunter2", "hunter2-and-more"], "x hunter2-and-more y hunter2"), "x [hidden] y [hidden]");
        assert_eq!(hidden(&["", "abc"], "abc"), "abc", "what is too short stays");
    }
}
