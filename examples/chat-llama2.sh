#!/usr/bin/env bash
# A conversation in the format of Llama 2 chat models, over POST /completion.  Needs bash, curl and jq.  End it with
# Ctrl-D.
#     examples/chat-llama2.sh              API_URL: the server, API_KEY: its key
set -euo pipefail

api_url="${API_URL:-http://127.0.0.1:8080}"
headers=(-H 'Content-Type: application/json')
if [[ -n "${API_KEY:-}" ]]; then headers+=(-H "Authorization: Bearer $API_KEY"); fi

system='You are a helpful assistant who answers in few words and says so when you do not know.'
# All turns so far.  The server puts <s> in front; between turns it is written.
history="[INST] <<SYS>>
$system
<</SYS>>

Hello! [/INST] Hello! How can I help you?"
green=$'\e[32m' plain=$'\e[0m'
exec 3>&1 # the terminal, also where output is being captured

contents() {
    jq --raw-input --join-output --unbuffered '
        if startswith("data: ") then .[6:] | fromjson | if .error then error(.error.message) else .content end
        elif startswith("{") then fromjson | error(.error.message) else empty end'
}

while printf '%s' "$green" && read -r -e -p '> ' question; do
    printf '%s' "$plain"
    history+=" </s><s>[INST] $question [/INST]"
    body=$(jq -nc --arg prompt "$history" '{$prompt, n_predict: 1024, stop: ["[INST]"], stream: true}')
    answer=$(curl --silent --show-error --no-buffer --fail-with-body "${headers[@]}" --data-raw "$body" \
        "$api_url/completion" | contents | tee /dev/fd/3)
    printf '\n'
    history+=" $(sed -e '1s/^[[:space:]]*//' -e '$s/[[:space:]]*$//' <<<"$answer")"
done
printf '%s' "$plain"
