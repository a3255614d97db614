// Only what finds tokens: the page makes nodes of them itself, and there is no markup to clean.
export { Lexer, Tokenizer } from "marked";
