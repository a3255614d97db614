// Every setting of the page, as a table: what it is called, what it may be, and a sentence on what it does.
// A setting has the name of the request's field; groups and order are the page's.
//
// kind     "number" (the usual) | "flag" | "choice" | "text" | "lines" (a list, one a line) | "names" (a list, by commas)
// range    [min, max], as the server takes it.  whole: only whole numbers.
// slider   the usual part of the range: [min, max, step]
// blank    what "not set" means where the server's default is no plain number
// chat     the default of the chat route where it is not the one in /props, which speaks for /completion

const INT = 2 ** 31 - 1;
const whole = (min, max = INT) => ({ range: [min, max], whole: true });

export const GROUPS = [
  {
    title: "Reply",
    open: true,
    fields: [
      {
        name: "temperature",
        label: "Temperature",
        slider: [0, 2, 0.05],
        range: [-100, 100],
        help: "Low is sober, high is adventurous. 0 always takes the likeliest token.",
      },
      {
        name: "max_tokens",
        label: "Longest reply",
        ...whole(-2),
        blank: "no limit",
        help: "In tokens. -2: until the context is full.",
      },
      {
        name: "seed",
        label: "Seed",
        ...whole(-1, 2 ** 32 - 2),
        blank: "random",
        help: "The same seed and settings give the same reply.",
      },
      {
        name: "stop",
        label: "Stop words",
        kind: "lines",
        help: "One a line. The reply ends where one comes up; write \\n for a line break.",
      },
      {
        name: "ignore_eos",
        label: "Never end by itself",
        kind: "flag",
        help: "The token that ends a reply is not allowed.",
      },
    ],
  },
  {
    title: "Which tokens may come",
    fields: [
      {
        name: "top_k",
        label: "Top-k",
        slider: [0, 100, 1],
        ...whole(-1),
        help: "Choose among this many likeliest tokens. 0: among all.",
      },
      {
        name: "top_p",
        label: "Top-p",
        slider: [0, 1, 0.01],
        range: [0, 1],
        help: "Choose among the likeliest tokens that together reach this probability. 1: among all.",
      },
      {
        name: "min_p",
        label: "Min-p",
        slider: [0, 1, 0.01],
        range: [0, 1],
        help: "Drop tokens less likely than this share of the likeliest. 0: drop none.",
      },
      {
        name: "typical_p",
        label: "Typical-p",
        slider: [0, 1, 0.01],
        range: [0, 1],
        help: "Choose among tokens about as surprising as is usual here. 1: among all.",
      },
      {
        name: "tfs_z",
        label: "Tail-free z",
        slider: [0, 1, 0.01],
        range: [0, 1],
        help: "Cut off the flat tail of the distribution. 1: keep it.",
      },
      {
        name: "top_n_sigma",
        label: "Top-n-sigma",
        slider: [-1, 5, 0.1],
        range: [-1, 100],
        help: "Drop tokens further than n standard deviations below the best. Below 0: drop none.",
      },
      {
        name: "min_keep",
        label: "Keep at least",
        ...whole(0, 2 ** 20),
        help: "Tokens that the steps above must leave.",
      },
      {
        name: "xtc_probability",
        label: "XTC probability",
        slider: [0, 1, 0.01],
        range: [0, 1],
        help: "How often the likeliest tokens are left out, for variety.",
      },
      {
        name: "xtc_threshold",
        label: "XTC threshold",
        slider: [0, 1, 0.01],
        range: [0, 1],
        help: "Only tokens above this probability are left out.",
      },
      {
        name: "samplers",
        label: "Order of samplers",
        kind: "names",
        help: "Names separated by commas; one that is missing does not run.",
      },
      {
        name: "logit_bias",
        label: "Bias of tokens",
        kind: "biases",
        help: "One a line: a token's text or number, a colon, and a number from -100 to 100, or false to forbid it.",
      },
    ],
  },
  {
    title: "Repetition",
    fields: [
      {
        name: "repeat_penalty",
        label: "Repeat penalty",
        slider: [0.5, 2, 0.05],
        range: [0.001, 100],
        chat: 1,
        help: "Above 1, recent tokens come back less easily.",
      },
      {
        name: "repeat_last_n",
        label: "Looks back",
        ...whole(-1),
        help: "Tokens that the penalties look at. -1: the whole context.",
      },
      {
        name: "presence_penalty",
        label: "Presence penalty",
        slider: [-2, 2, 0.05],
        range: [-100, 100],
        help: "Taken off a token that has come before.",
      },
      {
        name: "frequency_penalty",
        label: "Frequency penalty",
        slider: [-2, 2, 0.05],
        range: [-100, 100],
        help: "Taken off a token for each time that it has come before.",
      },
      {
        name: "penalize_nl",
        label: "Penalise line breaks",
        kind: "flag",
        help: "Whether line breaks count as repetition, too.",
      },
      {
        name: "penalty_prompt",
        label: "Text to be penalised",
        kind: "text",
        help: "Stands for the prompt in the penalties.",
      },
      {
        name: "dry_multiplier",
        label: "DRY multiplier",
        slider: [0, 5, 0.05],
        range: [0, 100],
        help: "Discourages going on with a phrase that stood there before. 0: off.",
      },
      {
        name: "dry_base",
        label: "DRY base",
        slider: [1, 4, 0.05],
        range: [1, 100],
        help: "How fast that grows with the length of the phrase.",
      },
      {
        name: "dry_allowed_length",
        label: "DRY allowed length",
        ...whole(0),
        help: "Phrases up to this many tokens may repeat.",
      },
      {
        name: "dry_penalty_last_n",
        label: "DRY looks back",
        ...whole(-1),
        help: "Tokens it looks at. 0: off, -1: the whole context.",
      },
      {
        name: "dry_sequence_breakers",
        label: "DRY breakers",
        kind: "lines",
        help: "One a line. A phrase ends at each of them; write \\n for a line break.",
      },
    ],
  },
  {
    title: "Steering as it goes",
    fields: [
      {
        name: "dynatemp_range",
        label: "Dynamic temperature",
        slider: [0, 2, 0.05],
        range: [0, 100],
        help: "The temperature moves by so much around its value, up where the model is unsure. 0: off.",
      },
      {
        name: "dynatemp_exponent",
        label: "Its exponent",
        slider: [0, 4, 0.1],
        range: [0, 100],
        help: "How it follows the uncertainty.",
      },
      {
        name: "mirostat",
        label: "Mirostat",
        kind: "choice",
        options: [
          [0, "off"],
          [1, "version 1"],
          [2, "version 2"],
        ],
        help: "Holds the surprise of the text at a level, in place of the cuts above.",
      },
      { name: "mirostat_tau", label: "Mirostat tau", slider: [0, 10, 0.1], range: [0, 100], help: "That level." },
      { name: "mirostat_eta", label: "Mirostat eta", slider: [0, 1, 0.01], range: [0, 1], help: "How fast it learns." },
      {
        name: "adaptive_target",
        label: "Adaptive-p target",
        slider: [-1, 1, 0.05],
        range: [-1, 1],
        help: "Prefers tokens about this probable. Below 0: off.",
      },
      {
        name: "adaptive_decay",
        label: "Adaptive-p decay",
        slider: [0, 0.99, 0.01],
        range: [0, 0.99],
        help: "How long it remembers what came.",
      },
    ],
  },
  {
    title: "Shape of the answer",
    fields: [
      {
        name: "grammar",
        label: "Grammar",
        kind: "grammar",
        help: "GBNF: what a reply may look like. Or paste a JSON schema and convert it.",
      },
    ],
  },
  {
    title: "Looking inside",
    fields: [
      {
        name: "n_probs",
        label: "Token probabilities",
        slider: [0, 20, 1],
        ...whole(0, 100),
        help: "Alternatives to show for each token; colours tell where the model was unsure. 0: off.",
      },
      {
        name: "post_sampling_probs",
        label: "After sampling",
        kind: "flag",
        help: "Probabilities as the samplers left them, rather than the model's own.",
      },
    ],
  },
  {
    title: "Limits and cache",
    fields: [
      {
        name: "t_max_predict_ms",
        label: "Time limit",
        ...whole(-1),
        blank: "none",
        help: "Milliseconds that generating may take.",
      },
      {
        name: "n_indent",
        label: "Least indentation",
        ...whole(0),
        blank: "0",
        help: "Lines that are indented less end the reply.",
      },
      {
        name: "n_keep",
        label: "Keep of the prompt",
        ...whole(-1),
        help: "Tokens that stay when a full context is shifted. -1: all.",
      },
      { name: "n_discard", label: "Drop at a shift", ...whole(0), help: "Tokens that go then. 0: half." },
      {
        name: "cache_prompt",
        label: "Use the cache",
        kind: "flag",
        help: "What has been computed before is not computed again. It never changes a reply.",
      },
      {
        name: "speculative.n_max",
        label: "Guesses",
        ...whole(0, 16),
        blank: "server's",
        help: "Tokens guessed ahead in a step. It never changes a reply.",
      },
      { name: "id_slot", label: "Slot", ...whole(-1), blank: "any", help: "The lane to run in, if it is free." },
    ],
  },
];
