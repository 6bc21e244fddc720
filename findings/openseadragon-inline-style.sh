#!/usr/bin/env bash
# A page whose content security policy is `style-src 'self'` shows an image with OpenSeadragon. One would guess that nothing is
# refused: the library sets styles by script (CSSOM), which such a policy allows. Since version 6.1 a viewer puts a
# <style> with text into the head when it is made, which the browser refuses with an error in the console; no option turns it off.
# Seen with openseadragon 6.1.1 (and not with 5.0.1) in Chromium on Debian, Linux x86-64:
#     5.0.1: nothing refused
#     6.1.1: inline style refused
# What does help: the library first looks for `style[data-openseadragon-mobile-css]`; an element of that name in a namespace of
# one's own, put into the head before, is found, and is no style to the browser.
set -euo pipefail
browser=$(command -v chromium || command -v google-chrome) || { echo "needs Chromium" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
seen() {  # seen VERSION: what the console says of styles
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$1" "openseadragon@$1"
    cp "$1/node_modules/openseadragon/build/openseadragon/openseadragon.min.js" "$1/openseadragon.js"
    cat > "$1/page.html" <<'HTML'
<!doctype html><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'self' data: file:; style-src 'self'; script-src 'self' file:">
<div id="stage"></div><script src="openseadragon.js"></script><script src="start.js"></script>
HTML
    echo 'OpenSeadragon({id: "stage", drawer: "canvas"}); document.title = "made";' > "$1/start.js"
    timeout 60 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$folder/profile" --enable-logging=stderr --v=0 \
        --virtual-time-budget=2000 --dump-dom "file://$folder/$1/page.html" > "$1/dom" 2> "$1/console" || true
    grep -q "<title>made</title>" "$1/dom" || { echo "$1: the viewer was not made" >&2; exit 1; }
    if grep -q "Applying inline style violates" "$1/console"; then echo "inline style refused"; else echo "nothing refused"; fi
}
before=$(seen 5.0.1); now=$(seen 6.1.1)
echo "5.0.1: $before"; echo "6.1.1: $now"
[ "$before" = "nothing refused" ] && [ "$now" = "inline style refused" ] || { echo "this has changed" >&2; exit 1; }
