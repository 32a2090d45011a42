//! The whole gate over real connections: what a client can make it do, and the headers of every response.

mod client;
mod config_swap;
mod cors;
mod credentials;
mod csrf;
mod csrf_bodies;
mod dry_run;
mod framing;
mod limits;
mod live_streams;
mod methods;
mod metric_series;
mod paths;
mod rate_limit_inspection;
mod refusal_log;
mod refusal_order;
mod responses;
mod route_policy;
mod same_site;
mod sessions;
mod shared_limits;
mod surroundings;
mod test_gate;
mod verdict_property;
mod version_table;
mod versions;
