//! Taking secrets out of texts that come from outside: what a mail server, a database, Redis or an upstream says about a
//! request may quote the request (SR-47).

/// Stands in a text for what was taken out.
pub const REDACTED: &str = "[redacted]";

/// The shortest run of letters, digits, `-` and `_` that may be a secret.
const SECRET_LENGTH: usize = 20;
/// The shortest such run without a digit.
const SECRET_LENGTH_WITHOUT_DIGIT: usize = 32;

/// Returns a text without what may be a secret: user and password, query and fragment of a URL, and long runs of letters
/// and digits, such as tokens. Ids (UUIDs) stay.
pub fn redacted(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        match word.find("://") {
            Some(colon) => push_url(&mut safe, word, colon + 3),
            None => push_runs(&mut safe, word),
        }
    }
    safe
}

/// Appends a word with a URL whose authority begins at `authority`.
fn push_url(safe: &mut String, word: &str, authority: usize) {
    let (scheme, rest) = word.split_at(authority);
    push_runs(safe, scheme);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => {
            safe.push_str(REDACTED);
            safe.push('@');
            push_runs(safe, host);
        }
        None => push_runs(safe, authority),
    }
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (path, query) = rest.split_at(end);
    // A list of URLs without spaces looks like a path with another authority in it.
    match path.find("//") {
        Some(slashes) => push_url(safe, path, slashes + 2),
        None => push_runs(safe, path),
    }
    if let Some(mark) = query.chars().next() {
        safe.push(mark);
        safe.push_str(REDACTED);
        safe.push_str(&query[query.trim_end().len()..]);
    }
}

/// Appends a text, with a mark for each run that may be a secret.
fn push_runs(safe: &mut String, text: &str) {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_of_token(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        safe.push_str(if may_be_secret(run) { REDACTED } else { run });
        let next = after.find(is_of_token).unwrap_or(after.len());
        safe.push_str(&after[..next]);
        rest = &after[next..];
    }
}

fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

fn may_be_secret(run: &str) -> bool {
    if run.len() < SECRET_LENGTH || is_uuid(run) {
        return false;
    }
    let has = |of_kind: fn(&char) -> bool| run.chars().any(|c| of_kind(&c));
    has(char::is_ascii_digit)
        || (run.len() >= SECRET_LENGTH_WITHOUT_DIGIT && has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase))
}

fn is_uuid(run: &str) -> bool {
    let groups: Vec<&str> = run.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_47_links_passwords_and_tokens_are_taken_out() {
        let token = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE";
        for text in [
            format!("550 spam: https://gate.example/reset-password#{token} listed"),
            format!("550 rejected {token}"),
            format!("554 <https://gate.example/verify?token={token}>"),
            format!("bad header: Bearer pk_{token}"),
        ] {
            let safe = redacted(&text);
            assert!(!safe.contains(&token[..12]) && safe.contains(REDACTED), "{safe}");
        }
        let safe = redacted("redis://gate:s3cret@cache.example:6379/0 refused the connection");
        assert_eq!(safe, "redis://[redacted]@cache.example:6379/0 refused the connection");
    }

    #[test]
    fn sr_47_each_url_of_a_word_is_redacted() {
        let safe = redacted("tried=[http://db.example/,postgres://gate:s3cret@db.example/gate?sslkey=x]");
        assert_eq!(safe, "tried=[http://db.example/,postgres://[redacted]@db.example/gate?[redacted]");
        assert_eq!(
            redacted("http://db.example,redis://gate:s3cret@cache"),
            "http://db.example,redis://[redacted]@cache"
        );
    }

    #[test]
    fn what_tells_the_reason_stays() {
        for text in [
            "550 5.7.1 no such user here, see https://mail.example/why",
            "permanent error (550): mailbox-unavailable on mx1.mail.example.com",
            "the constraint \"idempotency_keys_expires\" was violated",
            "session 0198c2a4-7d1e-7c3b-9a55-0123456789ab has ended",
            "",
        ] {
            assert_eq!(redacted(text), text);
        }
    }
}
