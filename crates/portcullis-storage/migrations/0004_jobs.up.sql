-- kind: expand
-- Periodic jobs. Only adds: programs of the previous schema run on this one.

-- jobs: Periodic jobs as replicas share them. `holder` is the replica that runs the job until `lease_until`; without a lease the job is due at `next_run_at`. `last_result` is `success` or `failure`.
CREATE TABLE jobs (
  name {text} NOT NULL CONSTRAINT jobs_name PRIMARY KEY,
  holder {text},
  lease_until {timestamp},
  next_run_at {timestamp},
  last_started_at {timestamp},
  last_finished_at {timestamp},
  last_success_at {timestamp},
  last_result {text},
  last_error {text}
){often_updated};
