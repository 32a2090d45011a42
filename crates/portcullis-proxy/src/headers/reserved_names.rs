//! Names of fields that a client must not send to an upstream, or only in one spelling (SR-38, SR-63).
//!
//! CGI, WSGI and PHP fold what is no letter or digit in a name: `X-Portcullis-User`, `X_Portcullis_User` and
//! `X~Portcullis~User` reach an application as one variable. So names are compared by their letters and digits only.

/// Under which condition a reserved field of a client is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    /// Never: upstreams believe it, or it is another spelling of a field that counts.
    Never,
    /// From a trusted proxy, because it describes the client as proxies see it.
    FromTrustedProxy,
    /// On a route with `method_override`: it names another method than the one that the gate has judged.
    MethodOverride,
}

/// The longest name that is compared as a whole, without separators.
const LONGEST: usize = 20;

/// Returns the condition for a field of a client; `None` for a field that is not reserved. `name` is in lower case.
pub(super) fn reserved(name: &str) -> Option<Reserved> {
    let bytes = name.as_bytes();
    let mut first = bytes.first()?;
    if !first.is_ascii_alphanumeric() {
        first = bytes.iter().find(|byte| byte.is_ascii_alphanumeric())?;
    }
    // Nearly every field ends here.
    if !matches!(first, b'x' | b'f' | b'p' | b'c' | b't') {
        return None;
    }
    let (mut folded, mut length) = ([0; LONGEST], 0);
    for byte in bytes.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
        let Some(slot) = folded.get_mut(length) else { break };
        *slot = *byte;
        length += 1;
    }
    let folded = &folded[..length];
    let (condition, spelling) = match folded {
        [b'x', b'p', b'o', b'r', b't', b'c', b'u', b'l', b'l', b'i', b's', ..] => return Some(Reserved::Never),
        [b'x', b'f', b'o', b'r', b'w', b'a', b'r', b'd', b'e', b'd', ..] => {
            let is_usual = name.starts_with("x-forwarded-") && !bytes.iter().any(is_unusual_separator);
            return Some(if is_usual { Reserved::FromTrustedProxy } else { Reserved::Never });
        }
        b"proxy" | b"xoriginalurl" | b"xrewriteurl" => return Some(Reserved::Never),
        b"forwarded" => (Some(Reserved::FromTrustedProxy), "forwarded"),
        b"xrealip" => (Some(Reserved::FromTrustedProxy), "x-real-ip"),
        b"clientcert" => (Some(Reserved::FromTrustedProxy), "client-cert"),
        b"clientcertchain" => (Some(Reserved::FromTrustedProxy), "client-cert-chain"),
        b"xhttpmethodoverride" => (Some(Reserved::MethodOverride), "x-http-method-override"),
        b"xhttpmethod" => (Some(Reserved::MethodOverride), "x-http-method"),
        b"xmethodoverride" => (Some(Reserved::MethodOverride), "x-method-override"),
        // Another spelling would pass the gate and count for a server that folds names.
        b"xapikey" => (None, "x-api-key"),
        b"xcsrftoken" => (None, "x-csrf-token"),
        b"xrequestid" => (None, "x-request-id"),
        b"contentlength" => (None, "content-length"),
        b"transferencoding" => (None, "transfer-encoding"),
        _ => return None,
    };
    if name == spelling { condition } else { Some(Reserved::Never) }
}

fn is_unusual_separator(byte: &u8) -> bool {
    !byte.is_ascii_alphanumeric() && *byte != b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every separator that a name of a field may contain (RFC 9110 §5.6.2).
    const SEPARATORS: &str = "!#$%&'*+-.^_`|~";

    #[test]
    fn sr_63_identity_is_recognised_with_any_separator() {
        for separator in SEPARATORS.chars() {
            for name in ["x-portcullis-user", "x-portcullis-role", "x-portcullis-anything-else-of-any-length"] {
                let spelt = name.replace('-', &separator.to_string());
                assert_eq!(reserved(&spelt), Some(Reserved::Never), "{spelt}");
                let mixed = name.replacen('-', &separator.to_string(), 1);
                assert_eq!(reserved(&mixed), Some(Reserved::Never), "{mixed}");
            }
        }
        for odd in ["-x-portcullis-user", "__x__portcullis__user", "xportcullisuser", "x-port-cullis-user-"] {
            assert_eq!(reserved(odd), Some(Reserved::Never), "{odd}");
        }
    }

    #[test]
    fn sr_63_each_reserved_name_is_recognised_with_any_separator() {
        for (name, condition) in [
            ("x-original-url", Some(Reserved::Never)),
            ("x-rewrite-url", Some(Reserved::Never)),
            ("x-forwarded-for", Some(Reserved::FromTrustedProxy)),
            ("x-forwarded-prefix", Some(Reserved::FromTrustedProxy)),
            ("x-real-ip", Some(Reserved::FromTrustedProxy)),
            ("client-cert", Some(Reserved::FromTrustedProxy)),
            ("client-cert-chain", Some(Reserved::FromTrustedProxy)),
            ("x-http-method-override", Some(Reserved::MethodOverride)),
            ("x-http-method", Some(Reserved::MethodOverride)),
            ("x-method-override", Some(Reserved::MethodOverride)),
            ("x-api-key", None),
            ("x-csrf-token", None),
            ("x-request-id", None),
            ("content-length", None),
            ("transfer-encoding", None),
        ] {
            assert_eq!(reserved(name), condition, "{name}");
            for separator in SEPARATORS.chars().filter(|separator| *separator != '-') {
                let spelt = name.replace('-', &separator.to_string());
                assert_eq!(reserved(&spelt), Some(Reserved::Never), "{spelt}");
            }
        }
        for name in ["proxy", "proxy-", "_proxy", "forwarded-", "~forwarded"] {
            assert_eq!(reserved(name), Some(Reserved::Never), "{name}");
        }
        assert_eq!(reserved("forwarded"), Some(Reserved::FromTrustedProxy));
    }

    #[test]
    fn other_names_are_free() {
        for name in [
            "host",
            "content-type",
            "cookie",
            "x-custom",
            "x_custom",
            "portcullis",
            "proxy-status",
            "x-forward",
            "x-http-method-overrides",
            "client-certificate",
            "traceparent",
            "tenant",
            "--",
            "~",
        ] {
            assert_eq!(reserved(name), None, "{name}");
        }
    }
}
