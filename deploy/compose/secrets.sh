#!/bin/sh
# Makes the secrets of compose.yaml in the folder `secrets` beside it, or in the folder given as argument. Existing secrets
# are kept.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
# The folder's mode keeps other users of this machine out; the files must be readable by the users inside the containers.
chmod 700 "$folder"
umask 022

make() {
  [ -s "$folder/$1" ] || printf %s "$2" > "$folder/$1"
}
random() {
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

make postgres_password "$(random)"
make redis_password "$(random)"
make csrf_secret "$(random)"
make encryption_key "$(random)"
make database_url "postgres://portcullis:$(cat "$folder/postgres_password")@postgres:5432/portcullis"
make redis_url "redis://:$(cat "$folder/redis_password")@redis:6379/0"
echo "the secrets are in $folder; keep a copy of encryption_key: without it signing keys cannot be opened"
