// Prompt templates of the page's own, in place of the model's: the reference server's page had these, with {{names}}.

export const OWN = {
  prompt:
    "A conversation between {{user}} and {{char}}, a friendly chatbot. {{char}} is helpful, kind, honest and good at " +
    "writing, and always answers at once and with precision.",
  user: "User",
  char: "Llama",
  template: "{{prompt}}\n\n{{history}}\n{{char}}:",
  historyTemplate: "{{name}}: {{message}}",
};

const NAME = /\{\{(\w+)\}\}/g;

/** A request for /completion.  get(name) gives what the reader has written, or undefined; turns end with the question,
 *  or with what the reply has so far. */
export function render(get, turns) {
  const own = (name) => get(name) ?? OWN[name];
  const names = { user: own("user"), char: own("char") };
  const fill = (text, values) => text.replace(NAME, (whole, name) => values[name] ?? whole);
  // What people said is put in as it stands: "{{user}}" in a message is text.
  const line = ({ role, content }) =>
    fill(own("historyTemplate"), { ...names, name: role === "user" ? names.user : names.char, message: content });
  const begun = turns.at(-1)?.role === "assistant" ? turns.at(-1).content : null;
  const history = (begun === null ? turns : turns.slice(0, -1)).map(line).join("\n");
  const prompt = fill(own("template"), { ...names, prompt: fill(own("prompt"), names), history });
  return {
    prompt: prompt + (begun === null ? "" : ` ${begun.trimStart()}`),
    stop: ["</s>", `${names.char}:`, `${names.user}:`],
  };
}
