// Every setting that a request may have, as a table: what it is called, what it may be, and a sentence on what it does.
// A setting has the name of the request's field; groups and order are the page's.
//
// kind     "number" (the usual) | "flag" | "choice" | "text" | "lines" (a list, one a line) | "names" (a list, by commas)
//          | "biases" | "grammar"
// range    [min, max], as the server takes it.  whole: only whole numbers.
// slider   the usual part of the range: [min, max, step]
// blank    what "not set" means where the server's default is no plain number
// differs  [the default of /completion, as /props tells it, that of chats] where they are not the same

const INT = 2 ** 31 - 1;

const dial = (name, label, slider, range, help, more) => ({ name, label, slider, range, help, ...more });
const steps = (name, label, slider, range, help, more) => ({ name, label, slider, range, whole: true, help, ...more });
const count = (name, label, range, help, more) => ({ name, label, range, whole: true, help, ...more });
const field = (name, label, kind, help, more) => ({ name, label, kind, help, ...more });

export const GROUPS = [
  {
    title: "Reply",
    open: true,
    fields: [
      dial(
        "temperature",
        "Temperature",
        [0, 2, 0.05],
        [-100, 100],
        "Low is sober, high is adventurous. 0 always takes the likeliest token.",
      ),
      count("max_tokens", "Longest reply", [-2, INT], "In tokens. -2: until the context is full.", {
        blank: "no limit",
      }),
      count("seed", "Seed", [-1, 2 ** 32 - 2], "The same seed and settings give the same reply.", { blank: "random" }),
      field(
        "stop",
        "Stop words",
        "lines",
        "One a line. The reply ends where one comes up; write \\n for a line break.",
      ),
      field("ignore_eos", "Never end by itself", "flag", "The token that ends a reply is not allowed."),
    ],
  },
  {
    title: "Which tokens may come",
    fields: [
      steps("top_k", "Top-k", [0, 100, 1], [-1, INT], "Choose among this many likeliest tokens. 0: among all."),
      dial(
        "top_p",
        "Top-p",
        [0, 1, 0.01],
        [0, 1],
        "Choose among the likeliest tokens that together reach this probability. 1: among all.",
      ),
      dial(
        "min_p",
        "Min-p",
        [0, 1, 0.01],
        [0, 1],
        "Drop tokens less likely than this share of the likeliest. 0: drop none.",
      ),
      dial(
        "typical_p",
        "Typical-p",
        [0, 1, 0.01],
        [0, 1],
        "Choose among tokens about as surprising as is usual here. 1: among all.",
      ),
      dial("tfs_z", "Tail-free z", [0, 1, 0.01], [0, 1], "Cut off the flat tail of the distribution. 1: keep it."),
      dial(
        "top_n_sigma",
        "Top-n-sigma",
        [-1, 5, 0.1],
        [-1, 100],
        "Drop tokens further than n standard deviations below the best. Below 0: drop none.",
      ),
      count("min_keep", "Keep at least", [0, 2 ** 20], "Tokens that the steps above must leave."),
      dial(
        "xtc_probability",
        "XTC probability",
        [0, 1, 0.01],
        [0, 1],
        "How often the likeliest tokens are left out, for variety.",
      ),
      dial("xtc_threshold", "XTC threshold", [0, 1, 0.01], [0, 1], "Only tokens above this probability are left out."),
      field("samplers", "Order of samplers", "names", "Names separated by commas; one that is missing does not run."),
      field(
        "logit_bias",
        "Bias of tokens",
        "biases",
        "One a line: a token's text or number, a colon, and a number from -100 to 100, or false to forbid it.",
      ),
    ],
  },
  {
    title: "Repetition",
    fields: [
      dial(
        "repeat_penalty",
        "Repeat penalty",
        [0.5, 2, 0.05],
        [0.001, 100],
        "Above 1, recent tokens come back less easily.",
        { differs: [1.1, 1] },
      ),
      count("repeat_last_n", "Looks back", [-1, INT], "Tokens that the penalties look at. -1: the whole context."),
      dial(
        "presence_penalty",
        "Presence penalty",
        [-2, 2, 0.05],
        [-100, 100],
        "Taken off a token that has come before.",
      ),
      dial(
        "frequency_penalty",
        "Frequency penalty",
        [-2, 2, 0.05],
        [-100, 100],
        "Taken off a token for each time that it has come before.",
      ),
      field("penalize_nl", "Penalise line breaks", "flag", "Whether line breaks count as repetition, too."),
      field("penalty_prompt", "Text to be penalised", "text", "Stands for the prompt in the penalties."),
      dial(
        "dry_multiplier",
        "DRY multiplier",
        [0, 5, 0.05],
        [0, 100],
        "Discourages going on with a phrase that stood there before. 0: off.",
      ),
      dial("dry_base", "DRY base", [1, 4, 0.05], [1, 100], "How fast that grows with the length of the phrase."),
      count("dry_allowed_length", "DRY allowed length", [0, INT], "Phrases up to this many tokens may repeat."),
      count("dry_penalty_last_n", "DRY looks back", [-1, INT], "Tokens it looks at. 0: off, -1: the whole context."),
      field(
        "dry_sequence_breakers",
        "DRY breakers",
        "lines",
        "One a line. A phrase ends at each of them; write \\n for a line break.",
      ),
    ],
  },
  {
    title: "Steering as it goes",
    fields: [
      dial(
        "dynatemp_range",
        "Dynamic temperature",
        [0, 2, 0.05],
        [0, 100],
        "The temperature moves by so much around its value, up where the model is unsure. 0: off.",
      ),
      dial("dynatemp_exponent", "Its exponent", [0, 4, 0.1], [0, 100], "How it follows the uncertainty."),
      field(
        "mirostat",
        "Mirostat",
        "choice",
        "Holds the surprise of the text at a level, in place of the cuts above.",
        {
          options: [
            [0, "off"],
            [1, "version 1"],
            [2, "version 2"],
          ],
        },
      ),
      dial("mirostat_tau", "Mirostat tau", [0, 10, 0.1], [0, 100], "That level."),
      dial("mirostat_eta", "Mirostat eta", [0, 1, 0.01], [0, 1], "How fast it learns."),
      dial(
        "adaptive_target",
        "Adaptive-p target",
        [-1, 1, 0.05],
        [-1, 1],
        "Prefers tokens about this probable. Below 0: off.",
      ),
      dial("adaptive_decay", "Adaptive-p decay", [0, 0.99, 0.01], [0, 0.99], "How long it remembers what came."),
    ],
  },
  {
    title: "Shape of the answer",
    fields: [
      field(
        "grammar",
        "Grammar",
        "grammar",
        "GBNF: what a reply may look like. Or paste a JSON schema and convert it.",
      ),
    ],
  },
  {
    title: "Looking inside",
    fields: [
      steps(
        "n_probs",
        "Token probabilities",
        [0, 20, 1],
        [0, 100],
        "Alternatives to show for each token; colours tell where the model was unsure. 0: off.",
      ),
      field(
        "post_sampling_probs",
        "After sampling",
        "flag",
        "Probabilities as the samplers left them, rather than the model's own.",
      ),
    ],
  },
  {
    title: "Limits and cache",
    fields: [
      count("t_max_predict_ms", "Time limit", [-1, INT], "Milliseconds that generating may take.", { blank: "none" }),
      count("n_indent", "Least indentation", [0, INT], "Lines that are indented less end the reply.", { blank: "0" }),
      count("n_keep", "Keep of the prompt", [-1, INT], "Tokens that stay when a full context is shifted. -1: all."),
      count("n_discard", "Drop at a shift", [0, INT], "Tokens that go then. 0: half."),
      field(
        "cache_prompt",
        "Use the cache",
        "flag",
        "What has been computed before is not computed again. It never changes a reply.",
      ),
      count("speculative.n_max", "Guesses", [0, 16], "Tokens guessed ahead in a step. It never changes a reply.", {
        blank: "server's",
      }),
      count("id_slot", "Slot", [-1, INT], "The lane to run in, if it is free.", { blank: "any" }),
    ],
  },
];
