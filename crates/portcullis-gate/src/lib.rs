//! The gate every request passes: route table, phases, Permit, CSRF, limits, versions, CORS.
