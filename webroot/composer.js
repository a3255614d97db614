// Where messages are written: the field, the pictures that go along, sending.

import { $, h, iconButton, picture, toast } from "./dom.js";

const MAX_PICTURES = 8;
const MAX_PICTURE_BYTES = 16 << 20;

export class Composer {
  #send;
  #written;
  #field = $(".composer textarea");
  #pictures = []; // Blobs
  #sees = false;

  /** send(text, pictures) -> whether they were taken; written(text): it is another now. */
  constructor(send, written) {
    this.#send = send;
    this.#written = written;
    const form = $(".composer");
    form.addEventListener("submit", (event) => (event.preventDefault(), this.submit()));
    this.#field.addEventListener("input", () => this.#fit());
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    this.#field.addEventListener("paste", ({ clipboardData }) => this.#take(clipboardData.files));
    $("input[type=file]", form).addEventListener(
      "change",
      ({ target }) => (this.#take(target.files), (target.value = "")),
    );
    for (const type of ["dragover", "drop"])
      document.addEventListener(type, (event) => {
        if (!event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault(); // else the browser leaves the page for the file
        if (type === "drop") this.#take(event.dataTransfer.files);
      });
  }

  /** Whether the model takes pictures. */
  set sees(sees) {
    this.#sees = sees;
    $(".composer .attach").hidden = !sees;
  }

  get text() {
    return this.#field.value;
  }

  set text(text) {
    this.#field.value = text;
    this.#fit();
  }

  /** Not where that brings up a keyboard which hides half of the page. */
  focus() {
    if (matchMedia("(hover: hover)").matches) this.#field.focus();
  }

  /** Send what is written, as Enter does. */
  submit() {
    const text = this.#field.value.trim();
    if (!text && this.#pictures.length === 0) return;
    if (!this.#send(text, this.#pictures)) return;
    this.#field.value = "";
    this.#pictures = [];
    this.#showPictures();
    this.#fit();
  }

  #key(event) {
    const composing = event.isComposing || event.keyCode === 229; // an input method is still choosing the word
    if (event.key !== "Enter" || event.shiftKey || composing) return;
    event.preventDefault();
    this.submit();
  }

  /** Another text: another height, where the style sheet cannot say so. */
  #fit() {
    this.#written(this.#field.value);
    if (CSS.supports("field-sizing: content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }

  #take(files) {
    if (files.length === 0) return;
    if (!this.#sees) return toast("This model reads text only: pictures and files cannot be attached.");
    for (const file of files) {
      if (!file.type.startsWith("image/")) toast(`${file.name} is no picture.`);
      else if (file.size > MAX_PICTURE_BYTES) toast(`${file.name} is larger than ${MAX_PICTURE_BYTES >> 20} MB.`);
      else if (this.#pictures.length === MAX_PICTURES) toast(`No more than ${MAX_PICTURES} pictures at once.`);
      else this.#pictures.push(file);
    }
    this.#showPictures();
  }

  #showPictures() {
    const drop = (blob) => {
      this.#pictures = this.#pictures.filter((one) => one !== blob);
      this.#showPictures();
    };
    const shown = this.#pictures.map((blob) => {
      const leaveOut = iconButton("close", `Leave out ${blob.name}`, () => drop(blob));
      return h("span", {}, picture(blob, blob.name), leaveOut);
    });
    $(".attached").replaceChildren(...shown);
  }
}
