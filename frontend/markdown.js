export { default as DOMPurify } from "dompurify";
export { Lexer, Marked, marked } from "marked";
