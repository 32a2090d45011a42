#!/usr/bin/env bash
# Checks the systemd units, and the Debian package in a Debian 12 made by debootstrap: it is installed, started, upgraded, removed and
# purged there. A chroot has no systemd, so the gateway is started as the unit's user with the unit's environment. Needs root.
#
#   scripts/deb/check.sh [units]     with `units` only these, which needs no root and takes a second
#
#   BINARY  takes this binary, instead of the development build
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=target/deb
mkdir -p "$folder"
fail() { echo "error: $*" >&2; exit 1; }
missing=()
programs=(systemd-analyze debootstrap strace)
[ "${1:-}" != units ] || programs=(systemd-analyze)
for program in "${programs[@]}"; do command -v "$program" >/dev/null || missing+=("${program/systemd-analyze/systemd}"); done
if [ ${#missing[@]} -gt 0 ]; then
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null \
    || fail "this needs ${missing[*]}"
fi

echo "the units"
# Where the program is not installed, that is the only thing that systemd may have to say.
said=$(systemd-analyze verify deploy/systemd/portcullis.service deploy/systemd/portcullis.socket 2>&1 | grep -v 'portcullis is not executable' || true)
[ -z "$said" ] || fail "systemd-analyze verify: $said"
# Tenths of the exposure.
systemd-analyze security --offline=true --threshold=15 deploy/systemd/portcullis.service >"$folder/security" \
  || fail "the exposure of the unit is too high: $(tail -n 1 "$folder/security")"
tail -n 1 "$folder/security"
[ "${1:-}" != units ] || exit 0

if [ -z "${BINARY:-}" ]; then
  cargo build --quiet --bin portcullis
  BINARY=${CARGO_TARGET_DIR:-target}/debug/portcullis
fi
export BINARY FAST=1
rm -f "$folder"/*.deb
scripts/deb/build.sh
REVISION=2 scripts/deb/build.sh
first=$(echo "$folder"/*-1_*.deb)
second=$(echo "$folder"/*-2_*.deb)

# The base is made once and unpacked for each check.
base=$folder/debian12.tar
if [ ! -f "$base" ]; then
  mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 2>/dev/null | awk '$1 == "bookworm" { print $2; exit }' || true)
  rm -rf "$folder/base"
  debootstrap --variant=minbase --include=adduser,ca-certificates bookworm "$folder/base" ${mirror:+"$mirror"} >"$folder/debootstrap.log" 2>&1 \
    || { tail -n 5 "$folder/debootstrap.log" >&2; exit 1; }
  tar -C "$folder/base" -cf "$base.part" .
  mv "$base.part" "$base"
  rm -rf "$folder/base"
fi
root=$(mktemp -d)
trap 'umount "$root/proc" 2>/dev/null || true; rm -rf "$root"' EXIT
tar -C "$root" -xf "$base"
chmod 755 "$root"
mount --bind /proc "$root/proc"
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
mode() { stat --format '%a %U' "$root/$1" 2>/dev/null || fail "there is no $1"; }

echo "install"
cp "$first" "$root/first.deb"
cp "$second" "$root/second.deb"
inside dpkg -i /first.deb >"$folder/install.log" || { cat "$folder/install.log" >&2; exit 1; }
grep -q 'set PUBLIC_URL' "$folder/install.log" || fail "the installation does not say what comes next"
inside getent passwd portcullis | grep ':/var/lib/portcullis:/usr/sbin/nologin$' >/dev/null || fail "the user is not as it should be"
for secret in csrf_secret encryption_key; do
  [ "$(mode etc/portcullis/secrets/$secret)" = "600 root" ] || fail "$secret can be read"
  [ "$(wc -c <"$root/etc/portcullis/secrets/$secret")" = 64 ] || fail "$secret is not 64 characters"
done
[ "$(mode etc/portcullis/secrets)" = "700 root" ] || fail "the folder of the secrets can be read"
for file in usr/lib/systemd/system/portcullis.service usr/lib/systemd/system/portcullis.socket usr/share/man/man1/portcullis.1.gz \
  usr/share/bash-completion/completions/portcullis usr/share/zsh/vendor-completions/_portcullis usr/share/fish/vendor_completions.d/portcullis.fish; do
  [ -s "$root/$file" ] || [ -s "$root/${file#usr/}" ] || fail "there is no $file"
done

echo "start"
cp "$root/etc/portcullis/secrets/encryption_key" "$folder/key"
python3 -B scripts/deb/service.py "$root" without-url
echo 'PUBLIC_URL=https://gate.example' >>"$root/etc/portcullis/portcullis.env"
python3 -B scripts/deb/service.py "$root" first

echo "upgrade"
inside dpkg -i /second.deb >"$folder/upgrade.log" 2>&1 || { cat "$folder/upgrade.log" >&2; exit 1; }
grep -q '^PUBLIC_URL=https://gate.example' "$root/etc/portcullis/portcullis.env" || fail "the upgrade lost a setting"
cmp -s "$root/etc/portcullis/secrets/encryption_key" "$folder/key" || fail "the upgrade made another key"
inside dpkg-query -W -f '${Version}' portcullis | grep -- '-2$' >/dev/null || fail "the upgrade has not the new version"
python3 -B scripts/deb/service.py "$root" again

echo "remove and purge"
inside dpkg -r portcullis >"$folder/remove.log" 2>&1
[ ! -e "$root/usr/bin/portcullis" ] || fail "the program is still there"
[ -e "$root/etc/portcullis/portcullis.env" ] || fail "the removal deleted settings"
inside dpkg -P portcullis >"$folder/purge.log" 2>&1
[ ! -e "$root/etc/portcullis/portcullis.env" ] || fail "the purge kept settings"
[ -e "$root/var/lib/portcullis/portcullis.db" ] || fail "the purge deleted the database"
grep -q 'etc/portcullis/secrets was kept' "$folder/purge.log" || fail "the purge does not say what was kept"
echo "the Debian package: installed, started, upgraded, removed and purged"
