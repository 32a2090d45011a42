//! Reading a request's query.

/// Returns the first value of a query parameter, decoded.
pub(crate) fn query_value(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Returns the query without `_csrf`, in whatever spelling: a CSRF token must not reach an upstream (SR-42).
pub(crate) fn without_csrf_token(query: &str) -> Box<str> {
    if !query.contains("_csrf") && !query.contains('%') {
        return query.into();
    }
    let is_csrf = |pair: &&str| form_urlencoded::parse(pair.as_bytes()).next().is_some_and(|(key, _)| key == "_csrf");
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_csrf(pair)).collect();
    kept.join("&").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_42_every_spelling_of_csrf_is_removed_from_a_query() {
        for (query, left) in [
            ("a=1&_csrf=x&b=2", "a=1&b=2"),
            ("_csrf=x", ""),
            ("%5Fcsrf=x&a=1", "a=1"),
            ("_%63srf=x&a=%20", "a=%20"),
            ("a=_csrf", "a=_csrf"),
            ("_csrf", ""),
        ] {
            assert_eq!(&*without_csrf_token(query), left, "{query}");
        }
    }
}
