#!/usr/bin/env bash
# A conversation on the terminal over POST /completion.  Needs bash, curl and jq.  End it with Ctrl-D.
#     examples/chat.sh                     API_URL: the server, API_KEY: its key
set -euo pipefail

api_url="${API_URL:-http://127.0.0.1:8080}"
headers=(-H 'Content-Type: application/json')
if [[ -n "${API_KEY:-}" ]]; then headers+=(-H "Authorization: Bearer $API_KEY"); fi

instruction='A chat between a curious human and an assistant who answers helpfully, precisely and politely.'
# What was said so far: questions and answers by turns.
chat=(
    'Hello, are you there?'
    'Hello! Yes, I am. What can I do for you?'
    'Which city of Europe has the most inhabitants?'
    'Istanbul, with about fifteen million, if its Asian side counts. Otherwise Moscow.'
)
exec 3>&1 # the terminal, also where output is being captured

ask() { # path, body
    curl --silent --show-error --no-buffer --fail-with-body "${headers[@]}" --data-raw "$2" "$api_url$1"
}

prompt() { # question
    printf '%s\n' "$instruction"
    local i
    for ((i = 0; i < ${#chat[@]}; i += 2)); do
        printf '### Human: %s\n### Assistant: %s\n' "${chat[i]}" "${chat[i + 1]}"
    done
    printf '### Human: %s\n### Assistant:' "$1"
}

# Prints the text of an event stream as it comes; what is no event is the server's refusal.
contents() {
    jq --raw-input --join-output --unbuffered '
        if startswith("data: ") then .[6:] | fromjson | if .error then error(.error.message) else .content end
        elif startswith("{") then fromjson | error(.error.message) else empty end'
}

# The instruction stays when the context is full.
n_keep=$(ask /tokenize "$(jq -nc --arg content "$instruction" '{$content}')" | jq '.tokens | length')

while read -r -e -p '> ' question; do
    body=$(jq -nc --arg prompt "$(prompt "$question")" --argjson n_keep "$n_keep" '{
        $prompt, $n_keep, temperature: 0.2, top_k: 40, top_p: 0.9, n_predict: 256, cache_prompt: true,
        stop: ["\n### Human:"], stream: true}')
    answer=$(ask /completion "$body" | contents | tee /dev/fd/3)
    printf '\n'
    chat+=("$question" "$(sed -e '1s/^[[:space:]]*//' -e '$s/[[:space:]]*$//' <<<"$answer")")
done
