"use strict";

const $ = (id) => document.getElementById(id);
const socket = new WebSocket(new URL("ws/echo", location.href.replace(/^http/, "ws")));

socket.onmessage = (event) => {
  $("received").append(event.data, "\n");
};
socket.onclose = () => {
  $("received").append("disconnected\n");
};
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket.readyState === WebSocket.OPEN) socket.send($("text").value);
});
