// One section with one WebSocket for each project of the user.
"use strict";

const LOG_LINES = 10;
const $ = (id) => document.getElementById(id);

function element(name, text = "") {
  const created = document.createElement(name);
  created.textContent = text;
  return created;
}

function show(project) {
  const jobs = new Map();
  const list = element("ul");
  const log = element("pre");
  const section = element("section");
  section.append(element("h2", project), list, log);
  $("projects").append(section);

  const receive = {
    job({ name, percent }) {
      if (!jobs.has(name)) {
        const item = element("li");
        const bar = element("progress");
        bar.max = 100;
        item.append(bar, ` ${name}`);
        list.append(item);
        jobs.set(name, bar);
      }
      jobs.get(name).value = percent;
    },
    log(line) {
      log.textContent = [...log.textContent.split("\n"), line].slice(-LOG_LINES).join("\n");
    },
  };

  function connect() {
    const path = `ws/progress/${encodeURIComponent(project)}`;
    const socket = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")));
    socket.onmessage = (event) => {
      const { type, payload } = JSON.parse(event.data);
      receive[type]?.(payload);
    };
    socket.onclose = () => setTimeout(connect, 1000 + 1000 * Math.random());
  }
  connect();
}

async function start() {
  const response = await fetch("user");
  $("login").hidden = response.ok;
  if (response.ok) (await response.json()).projects.forEach(show);
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  // Browsers send cookies with a WebSocket request, but no custom headers.
  document.cookie = `token=${encodeURIComponent($("token").value)}; SameSite=Strict`;
  start();
});
start();
