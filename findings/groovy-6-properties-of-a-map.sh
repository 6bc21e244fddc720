#!/usr/bin/env bash
# A GeoJSON feature read by Gson is a Map, and Groovy's feature.properties has always been the entry "properties", as
# feature.geometry is the entry "geometry". One would guess that this stays so. In Groovy 6.0.0 feature.properties is the list
# of bean properties that every object has, which is empty for a Map: no error, no warning, all properties are gone.
# feature.get('properties') and feature['properties'] still give the entry. Scripts that read GeoJSON run in QuPath, whose
# Groovy is 4 (0.5, 0.6) or 5 (0.7).
# Seen with Groovy 4.0.26 (npm-groovy-lint 16.2.0) and 6.0.0 (groovyscope 0.36.2), Java 17:
#     4.0.26: [a:1] [a:1] [a:1]
#     6.0.0: [:] [a:1] [a:1]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts npm-groovy-lint@16.2.0
python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.13 groovyscope==0.36.2
python3 -m zipfile --extract groovyscope-0.36.2-py3-none-any.whl six
cat > feature.groovy <<'GROOVY'
def feature = [type: 'Feature', properties: [a: 1]]
println "${GroovySystem.version}: ${feature.properties} ${feature.get('properties')} ${feature['properties']}"
GROOVY
four=$(java -cp "$(echo node_modules/npm-groovy-lint/lib/java/groovy/lib/groovy-4*.jar)" groovy.ui.GroovyMain feature.groovy)
six=$(java -cp "$(echo six/groovyscope/_jar/*.jar)" groovy.ui.GroovyMain feature.groovy)
printf '%s\n' "$four" "$six"
[ "$four" = "4.0.26: [a:1] [a:1] [a:1]" ] || { echo "Groovy 4 has changed" >&2; exit 1; }
[ "$six" = "6.0.0: [:] [a:1] [a:1]" ] || { echo "Groovy 6 has changed" >&2; exit 1; }
