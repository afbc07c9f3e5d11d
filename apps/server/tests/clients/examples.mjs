// The engine's examples as people try them: each started, opened in two pages of headless Chromium, used, and ended.
//
// usage: node examples.mjs FOLDER, where the built examples are; screenshots go to $ARTIFACTS, if that is set.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";
import { finish, run } from "./tap.mjs";

const folder = process.argv[2];
const artifacts = process.env.ARTIFACTS;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: process.getuid() === 0 ? ["--no-sandbox"] : [],
});

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function answers(port) {
  for (let attempt = 0; attempt < 100; attempt++) {
    const socket = connect(port, "127.0.0.1");
    const reached = await new Promise((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (reached) return;
    await sleep(50);
  }
  throw new Error(`nobody listens on port ${port}`);
}

/** Runs `use` with two pages of an example, then ends it as a person does and wants it to have ended well. */
async function withExample(name, use) {
  const address = `127.0.0.1:${await freePort()}`;
  const program = spawn(join(folder, name), [address], { stdio: ["ignore", "inherit", "inherit"] });
  const ended = once(program, "exit");
  const context = await browser.newContext({ viewport: { width: 1000, height: 760 } });
  try {
    await answers(Number(address.split(":")[1]));
    const pages = [];
    for (let index = 0; index < 2; index++) {
      const page = await context.newPage();
      page.setDefaultTimeout(10_000);
      page.complaints = [];
      page.on("pageerror", (error) => page.complaints.push(error.message));
      page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
      await page.goto(`http://${address}/`);
      pages.push(page);
    }
    await use(...pages);
    for (const page of pages) assert.deepEqual(page.complaints, []);
  } finally {
    await context.close();
    program.kill("SIGTERM");
    const [code] = await Promise.race([ended, sleep(10_000, [null])]);
    if (code === null) program.kill("SIGKILL");
    assert.equal(code, 0, `${name} drains at SIGTERM and exits with 0`);
  }
}

async function screenshot(page, name) {
  if (!artifacts) return;
  mkdirSync(artifacts, { recursive: true });
  await page.screenshot({ path: join(artifacts, `example-${name}.png`) });
}

const tests = [
["chat: two people see what both of them say, and who comes and goes", () => withExample("chat", async (ada, bob) => {
  const comeIn = async (page, name) => {
    await page.fill("#name", name);
    await page.press("#name", "Enter");
    await page.waitForSelector("#say:not([hidden])");
  };
  const sees = (page, text) => page.waitForFunction((text) => document.getElementById("lines").innerText.includes(text), text);
  await comeIn(ada, "Ada");
  await comeIn(bob, "Bob");
  await sees(ada, "Bob came in");
  for (const [page, other, line] of [[ada, bob, "Does it reach every core?"], [bob, ada, "It does: <b>é 😀</b>"]]) {
    await page.fill("#line", line);
    await page.press("#line", "Enter");
    await sees(page, line);
    await sees(other, line);
  }
  await screenshot(bob, "chat");
  await ada.close();
  await sees(bob, "Ada left");
})],

["telemetry: both pages see the devices of both, and their sums", () => withExample("telemetry", async (first, second) => {
  const devices = (page, count) => page.waitForFunction((count) => document.getElementById("state").textContent.startsWith(`${count} devices`), count);
  await devices(first, 8);
  await devices(second, 8);
  // Two metrics, eight devices, ten points a second each; a busy machine may be slower.
  const rows = () => first.$$eval("#sums tr", (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
  await first.waitForFunction(() => [...document.querySelectorAll("#sums tr")].filter((row) => Number(row.cells[2].textContent) >= 40).length === 2);
  assert.deepEqual((await rows()).map((row) => row[0]), ["load", "temperature"]);
  await sleep(4000);
  await screenshot(first, "telemetry");
})],

["arena: two players see each other move at thirty ticks a second", () => withExample("arena", async (one, two) => {
  const scores = (page) => page.$$eval("#list div", (rows) => rows.map((row) => row.firstChild.textContent));
  for (const page of [one, two]) await page.waitForFunction(() => document.querySelectorAll("#list div").length === 2);
  assert.ok((await scores(one)).includes("you") && (await scores(two)).includes("you"));
  await one.bringToFront();
  const place = (page) => page.evaluate(() => ({ ...states.at(-1).players.get(me) }));
  const seen = (page, id) => page.evaluate((id) => ({ ...states.at(-1).players.get(id) }), id);
  const [before, id] = [await place(one), await one.evaluate(() => me)];
  const key = before.x < 500 ? "ArrowRight" : "ArrowLeft";
  await one.keyboard.down(key);
  await sleep(700);
  await one.keyboard.up(key);
  const after = await place(one);
  assert.ok(Math.abs(after.x - before.x) > 50, `from ${before.x} to ${after.x}`);
  const elsewhere = await seen(two, id);
  assert.ok(Math.abs(elsewhere.x - after.x) < 100, "the other player sees it too");
  await one.waitForFunction(() => Number(document.getElementById("net").textContent.split(" ")[0]) >= 20);
  await screenshot(one, "arena");
})],
];

const outcomes = await run(tests);
await browser.close();
finish(outcomes);
