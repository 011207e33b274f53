// Two WebSockets: one receives from the hub, the other sends to the echo.
"use strict";

const SHOWN = 100;
const $ = (id) => document.getElementById(id);
const url = (path) => new URL(path, location.href.replace(/^http/, "ws"));
let messages = 0;
let echo;

function item(label, text) {
  const li = document.createElement("li");
  const span = document.createElement("span");
  span.textContent = `${label}  `;
  li.append(span, text);
  return li;
}

function show(message) {
  if (message.type === "clients") {
    const clients = Object.entries(message.payload);
    $("count").textContent = clients.length;
    $("clients").replaceChildren(
      ...clients.slice(0, SHOWN).map(([id, address]) => item(`#${id}`, address)));
  } else if (message.type === "echo") {
    const { client, kind, bytes, text } = message.payload;
    $("messages-count").textContent = ++messages;
    $("messages").prepend(item(`#${client} ${kind}, ${bytes} B`, text));
    while ($("messages").childElementCount > SHOWN) $("messages").lastChild.remove();
  }
}

function connect() {
  const hub = new WebSocket(url("ws/stats"));
  hub.onopen = () => {
    $("state").textContent = "live";
    echo = new WebSocket(url("ws/echo"));
  };
  hub.onmessage = (event) => show(JSON.parse(event.data));
  hub.onclose = () => {
    $("state").textContent = "reconnecting";
    echo?.close();
    setTimeout(connect, 1000 + 1000 * Math.random());
  };
}

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if (echo?.readyState === WebSocket.OPEN && $("text").value) {
    echo.send($("text").value);
    $("text").value = "";
  }
});
connect();
