"""Published vulnerabilities of other gateways, identity servers and the libraries below them, each with the tests that show that
Portcullis does not have it. scripts/verify.py runs them and writes the table of docs/verified.md.

A name in `tests` is the name of a test function, in whatever crate it is.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Peer:
    cves: str
    product: str
    flaw: str
    tests: str

    def names(self):
        return self.tests.split()


PEERS = {
    "Request smuggling": [
        Peer("CVE-2021-40346", "HAProxy", "a second Content-Length that one parser overlooks", "sr_39_an_ambiguous_head_is_found sr_39_an_ambiguous_request_is_400_and_closes"),
        Peer("CVE-2019-18277", "HAProxy", "Transfer-Encoding in a spelling that others read as `chunked`", "sr_39_an_ambiguous_head_is_found"),
        Peer("CVE-2023-25725", "HAProxy", "a field without a name hides those after it", "a_field_without_a_name_or_with_nul_is_malformed"),
        Peer("CVE-2021-32714, CVE-2021-32715", "hyper", "a chunk size that overflows; `Content-Length: +5`", "sr_39_chunks_that_parsers_read_differently_are_invalid sr_39_an_ambiguous_head_is_found"),
        Peer("CVE-2023-30589", "Node.js (llhttp)", "a CR alone ends a line", "a_field_without_a_name_or_with_nul_is_malformed"),
        Peer("CVE-2024-1135, CVE-2024-6827", "Gunicorn", "Transfer-Encoding that is not only `chunked`, or beside a length", "sr_39_an_ambiguous_head_is_found sr_39_a_length_beside_chunks_is_ambiguous"),
        Peer("CVE-2025-22871", "Go net/http", "a bare LF ends the line of a chunk's size", "sr_39_chunks_that_parsers_read_differently_are_invalid"),
        Peer("CVE-2025-55315", "ASP.NET Core Kestrel", "line ends within a chunk's extension", "sr_39_chunks_that_parsers_read_differently_are_invalid sr_39_long_chunk_extensions_are_refused"),
        Peer("CVE-2025-4366", "Pingora", "the unread body of an answered request is read as the next request", "a_response_before_the_end_of_the_body_says_close sr_39_bytes_after_malformed_chunks_are_no_request"),
        Peer("CVE-2021-21295", "Netty", "a length of HTTP/2 that differs from the body, written to HTTP/1.1", "sr_39_ambiguous_http_2_requests_reach_no_upstream"),
        Peer("CVE-2021-33193", "Apache httpd", "a method of HTTP/2 that splits the request to the upstream", "sr_39_ambiguous_http_2_requests_reach_no_upstream sr_54_only_standard_or_named_methods_reach_a_route"),
        Peer("CVE-2023-25690", "Apache httpd", "line breaks in a rewritten path split the request to the upstream", "a_path_that_servers_read_differently_is_refused bytes_that_are_not_a_path_never_reach_a_route"),
    ],
    "Floods": [
        Peer("CVE-2023-44487, CVE-2023-39325", "HTTP/2 servers", "rapid reset", "sr_40_a_client_that_resets_at_once_is_cut_off sr_40_a_client_that_resets_handled_requests_is_cut_off"),
        Peer("CVE-2025-8671", "HTTP/2 servers", "MadeYouReset: the server is made to reset", "sr_40_a_client_may_break_the_protocol_100_times"),
        Peer("CVE-2024-27316, CVE-2024-30255, CVE-2023-45288", "Apache httpd, Envoy, Go", "endless CONTINUATION", "sr_40_endless_continuations_are_cut_off"),
        Peer("CVE-2019-9511, CVE-2019-9517", "HTTP/2 servers", "windows that let nothing through while data is asked for", "sr_40_an_unread_http_2_response_is_aborted_alone sr_40_a_client_that_ignores_the_window_is_refused"),
        Peer("CVE-2007-6750", "Apache httpd", "Slowloris", "sr_40_a_head_without_an_end_is_closed sr_40_a_body_that_stops_is_408 sr_40_only_a_client_that_does_not_read_is_cut_off"),
        Peer("CVE-2013-1443", "Django", "very long passwords keep the hashing busy", "sr_02_8_to_128_code_points_of_any_kind_never_cut sr_57_one_account_cannot_stop_the_sign_ins_of_others"),
    ],
    "Paths that lead around a rule": [
        Peer("CVE-2021-29492, CVE-2019-9901", "Envoy", "`%2F`, `%5C`, `//` and dot segments", "every_spelling_of_a_path_becomes_one a_path_that_servers_read_differently_is_refused every_spelling_of_a_private_path_needs_a_credential"),
        Peer("CVE-2021-39156", "Istio", "`#` in a path", "only_the_path_of_a_request_chooses_its_route"),
        Peer("CVE-2021-43557", "Apache APISIX", "a rule that reads the path before it is normalised", "every_spelling_of_a_private_path_needs_a_credential"),
        Peer("CVE-2021-41773, CVE-2021-42013", "Apache httpd", "encoded dots, also encoded twice", "a_path_that_servers_read_differently_is_refused"),
        Peer("CVE-2025-32431, CVE-2025-47952", "Traefik", "`/../`, also encoded, past a path matcher", "every_spelling_of_a_private_path_needs_a_credential a_path_that_a_lenient_server_reads_as_private_is_not_found"),
        Peer("CVE-2025-54576, CVE-2026-41059", "OAuth2 Proxy", "a query or a fragment that matches the rule of an open path", "only_the_path_of_a_request_chooses_its_route"),
        Peer("CVE-2026-40575", "OAuth2 Proxy", "`X-Forwarded-Uri` of a client chooses the rule", "only_the_path_of_a_request_chooses_its_route sr_63_headers_that_rewrite_a_request_reach_no_upstream"),
        Peer("CVE-2023-27487", "Envoy", "`x-envoy-original-path` of a client is believed", "only_the_path_of_a_request_chooses_its_route"),
    ],
    "Headers that name somebody": [
        Peer("CVE-2024-45410, CVE-2025-48865, CVE-2022-1388", "Traefik, Fabio, BIG-IP", "`Connection` takes headers of the gateway away", "connection_takes_no_header_of_the_gateway_away"),
        Peer("CVE-2025-64484, CVE-2026-33433", "OAuth2 Proxy, Traefik", "`X_Forwarded_User` is read as `X-Forwarded-User`", "sr_63_identity_with_any_separator_reaches_no_upstream a_client_cannot_forge_the_headers_of_identity"),
        Peer("CVE-2016-5385", "CGI servers (httpoxy)", "`Proxy` becomes the proxy of the upstream", "sr_63_headers_that_rewrite_a_request_reach_no_upstream"),
        Peer("CVE-2019-9900", "Envoy", "NUL within a value", "a_field_without_a_name_or_with_nul_is_malformed"),
        Peer("CVE-2021-32777", "Envoy", "a header that is sent twice is judged by one of its values", "a_credential_that_is_sent_twice_is_invalid two_credentials_are_refused_and_open_routes_ignore_them"),
        Peer("CVE-2022-24112", "Apache APISIX", "`X-Real-IP` of a client is its address", "sr_37_forwarded_addresses_of_an_untrusted_peer_are_ignored"),
        Peer("CVE-2023-36456, CVE-2024-47070", "authentik", "`X-Forwarded-For` is believed; one that cannot be parsed skips the password", "sr_37_an_untrusted_peer_cannot_name_another_client sr_37_entries_left_of_an_invalid_one_do_not_count"),
        Peer("CVE-2023-49097, CVE-2025-64101", "ZITADEL", "the host of a request is that of the mailed link", "no_header_of_a_request_is_in_a_mailed_link"),
    ],
    "Tokens": [
        Peer("CVE-2015-9235, CVE-2018-1000531", "jsonwebtoken, prime-jwt", "`alg: none`", "sr_30_cut_swapped_and_unsigned_tokens_are_refused"),
        Peer("CVE-2016-10555, CVE-2024-54150", "jwt-simple, cjwt", "HS256 with the public key as its secret", "sr_30_hs256_over_the_public_key_is_refused sr_30_each_key_verifies_its_own_algorithm_only"),
        Peer("CVE-2018-0114", "node-jose", "the key that a token brings along", "sr_30_keys_that_a_token_brings_along_are_never_used"),
        Peer("CVE-2020-28042", "ServiceStack", "an empty signature", "sr_30_cut_swapped_and_unsigned_tokens_are_refused"),
        Peer("CVE-2022-21449", "Java", "an ECDSA signature of zeros", "sr_30_a_signature_of_zeros_is_refused"),
        Peer("CVE-2022-39227", "python-jwt", "a token in JSON with other claims beside the signed ones", "sr_30_a_token_in_json_is_refused"),
        Peer("CVE-2025-59420", "Authlib", "a critical header that is not understood", "sr_30_a_token_with_a_critical_header_is_refused"),
        Peer("CVE-2021-32701", "ORY Oathkeeper", "a remembered token is good for other scopes", "sr_35_a_changed_role_counts_at_the_next_request sr_43_an_api_key_is_held_to_its_scopes"),
    ],
    "Sessions and sign-in": [
        Peer("CVE-2024-4629", "Keycloak", "guesses at the same time outrun the count of failures", "sr_65_no_burst_outruns_the_bound sr_09_attempts_are_counted_before_their_outcome"),
        Peer("CVE-2017-12160, CVE-2025-64521", "Keycloak, authentik", "tokens outlive the right or the user", "sr_22_an_access_token_dies_with_its_session sr_22_deactivation_ends_sessions_and_tokens"),
        Peer("CVE-2023-39522, CVE-2024-41952", "authentik, ZITADEL", "answers tell which users exist", "sr_10_every_failed_login_costs_and_returns_the_same sr_10_a_requested_mail_costs_the_same_for_every_address"),
        Peer("CVE-2022-23555", "authentik", "the token of an invitation is good elsewhere, and again", "sr_17_an_invited_user_sets_the_first_password_once sr_12_a_foreign_token_sets_no_password_and_costs_no_hash"),
        Peer("CVE-2023-7028, CVE-2019-19844", "GitLab, Django", "a second or a folded address receives the link", "a_reset_link_goes_to_the_stored_address_only"),
        Peer("CVE-2024-3656", "Keycloak", "users without rights call the interface of administrators", "the_users_api_is_closed_to_who_may_not sr_61_a_registered_user_reads_nothing_about_others"),
        Peer("CVE-2020-1728", "Keycloak", "pages without protection from framing", "sr_29_every_response_has_the_security_headers"),
    ],
    "Other sites": [
        Peer("CVE-2023-27495", "@fastify/csrf-protection", "a token that is not bound to its user", "sr_25_a_token_is_valid_for_its_identifier_only sr_27_another_users_token_pair_is_refused"),
        Peer("CVE-2016-7401", "Django", "a planted cookie is taken for the token's", "sr_24_in_production_a_planted_cookie_does_not_count two_csrf_cookies_are_refused_even_if_they_are_equal"),
        Peer("CVE-2025-24358", "gorilla/csrf", "the origin is not compared", "sr_27_a_request_by_cookie_needs_our_site sr_29_origins_are_compared_exactly"),
        Peer("CVE-2024-41657", "Casdoor", "an origin is allowed by its beginning", "cors_answers_allowed_origins_exactly_and_refusals_too sr_29_origins_are_compared_exactly"),
        Peer("CVE-2024-23898", "Jenkins", "a WebSocket of another site has the user's rights", "sr_53_only_our_pages_open_a_web_socket_by_cookie sr_53_every_spelling_of_a_handshake_is_held_to_the_rule"),
    ],
}


def all_peers():
    return [peer for peers in PEERS.values() for peer in peers]


def all_tests():
    return sorted({name for peer in all_peers() for name in peer.names()})


def missing_tests():
    """The names that are no test of the tree."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "crates").rglob("*.rs"))
    known = set(re.findall(r"\bfn (\w+)\(", text))
    return [name for name in all_tests() if name not in known]


def command():
    return f"cargo nextest run --workspace -E 'test(/(^|::)({'|'.join(all_tests())})$/)'"


def section(verdict):
    """The lines of the page, after a verdict on the whole."""
    lines = [
        "## Vulnerabilities of others, as cases", "",
        "Published vulnerabilities of gateways, identity servers and libraries below them, each with the tests of ours that show that Portcullis does",
        "not have it. `python3 -B scripts/peers.py` prints the command that runs them.", "",
        f"Run together: {verdict}.", "",
    ]
    for title, peers in PEERS.items():
        lines += [f"### {title}", "", "| CVE | of | flaw | tests |", "|---|---|---|---|"]
        lines += [f"| {peer.cves} | {peer.product} | {peer.flaw} | {', '.join(f'`{name}`' for name in peer.names())} |" for peer in peers]
        lines.append("")
    return lines


if __name__ == "__main__":
    print(command())
