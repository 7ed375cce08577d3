// The page of `neo serve`: a chat with pictures over the chat protocol. Nothing is loaded from anywhere else, and what
// the model writes is inserted as text, never as markup.
"use strict";

const at = (id) => document.getElementById(id);
const messages = []; // the conversation, as the protocol has it
let pictures = []; // data: URIs of pictures that wait for the question
let model = "";
let asking = null; // the AbortController of the answer in progress

function element(kind, name, text = "") {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  return made;
}

function picture(uri) {
  const image = document.createElement("img");
  image.src = uri;
  image.alt = "";
  return image;
}

function showWaiting() {
  at("pictures").replaceChildren(...pictures.map((uri, number) => {
    const remove = element("button", "");
    remove.type = "button";
    remove.title = "Remove";
    remove.append(picture(uri));
    remove.addEventListener("click", () => { pictures.splice(number, 1); showWaiting(); });
    return remove;
  }));
}

function read(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}

async function take(files) {
  const shown = [...files].filter((file) => file.type.startsWith("image/"));
  if (shown.length < files.length) at("status").textContent = "Only pictures can be shown.";
  pictures.push(...await Promise.all(shown.map(read)));
  showWaiting();
}

function addTurn(role, text, uris = []) {
  document.querySelector(".hint")?.remove();
  const turn = element("div", `turn ${role}`, text);
  if (uris.length) {
    const thumbs = element("div", "thumbs");
    thumbs.append(...uris.map(picture));
    turn.prepend(thumbs);
  }
  at("turns").append(turn);
  turn.scrollIntoView({ block: "end" });
  return turn;
}

// The documents of a stream of server-sent events; one may arrive in several pieces.
async function* documents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (waiting + value).split("\n");
    waiting = lines.pop();
    for (const line of lines) {
      if (line === "data: [DONE]") return;
      if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
    }
  }
}

async function answer(turn, signal) {
  const asked = { model, messages, stream: true, stream_options: { include_usage: true },
                  temperature: Number(at("temperature").value) };
  if (at("length").value) asked.max_tokens = Number(at("length").value);
  const response = await fetch("/v1/chat/completions", {
    method: "POST", signal, headers: { "content-type": "application/json" }, body: JSON.stringify(asked) });
  if (!response.ok) throw new Error((await response.json()).error.message);
  let ended = "";
  for await (const document of documents(response.body)) {
    if (document.error) throw new Error(document.error.message);
    for (const choice of document.choices) {
      turn.textContent += choice.delta.content ?? "";
      ended = choice.finish_reason ?? ended;
    }
    if (document.usage) {
      const cut = ended === "length" ? ", cut at the limit" : "";
      at("status").textContent = `${document.usage.prompt_tokens} tokens read, ${document.usage.completion_tokens} written${cut}`;
    }
    turn.scrollIntoView({ block: "end" });
  }
  return turn.textContent;
}

async function ask(event) {
  event.preventDefault();
  const text = at("question").value.trim();
  if (asking || !text) return;
  const shown = pictures.map((url) => ({ type: "image_url", image_url: { url } }));
  messages.push({ role: "user", content: [...shown, { type: "text", text }] });
  addTurn("user", text, pictures);
  const turn = addTurn("assistant", "");
  const before = pictures;
  pictures = [];
  at("question").value = "";
  at("status").textContent = "";
  showWaiting();
  setAsking(new AbortController());
  try {
    messages.push({ role: "assistant", content: await answer(turn, asking.signal) });
  } catch (error) {
    messages.pop(); // the question may be asked again
    const stopped = error.name === "AbortError";
    if (!stopped) {
      turn.classList.add("error");
      turn.textContent = error.message;
      pictures = before;
      at("question").value = text;
      showWaiting();
    }
    at("status").textContent = stopped ? "Stopped; this turn is not part of the chat." : "";
  } finally {
    setAsking(null);
  }
}

function setAsking(controller) {
  asking = controller;
  at("send").disabled = controller !== null;
  at("clear").disabled = controller !== null;
  at("stop").hidden = controller === null;
}

function clear() {
  messages.length = 0;
  at("turns").replaceChildren();
  at("status").textContent = "";
}

at("form").addEventListener("submit", ask);
at("stop").addEventListener("click", () => asking?.abort());
at("clear").addEventListener("click", clear);
at("files").addEventListener("change", () => { take(at("files").files); at("files").value = ""; });
at("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) at("form").requestSubmit();
  if (event.key === "Enter" && !event.shiftKey) event.preventDefault();
});
addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files); });
addEventListener("dragover", (event) => { event.preventDefault(); at("form").classList.add("dropping"); });
addEventListener("dragleave", () => at("form").classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  at("form").classList.remove("dropping");
  take(event.dataTransfer.files);
});
fetch("/v1/models").then((response) => response.json()).then((listed) => {
  model = listed.data[0].id;
  at("model").textContent = model;
  document.title = model;
});
