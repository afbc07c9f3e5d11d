// Headless Chromium against the echo server: first the page that the server shows, as a person uses it,
// then the tests of the standard interface inside a page, then what only Chromium offers.
//
// usage: node browser.mjs ws://127.0.0.1:PORT/ [driver]; screenshots go to $ARTIFACTS, if that is set.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { addressFromArguments, finish, run } from "./tap.mjs";
import { tests as standardTests } from "./standard.mjs";

const address = addressFromArguments();
const driver = process.argv[3] ?? "server";
const pageAddress = address.replace(/^ws/, "http");
const artifacts = process.env.ARTIFACTS;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // Chromium refuses its sandbox to root, and containers often run as root.
  args: process.getuid() === 0 ? ["--no-sandbox"] : [],
});

async function screenshot(page, name) {
  if (!artifacts) return;
  mkdirSync(artifacts, { recursive: true });
  await page.screenshot({ path: join(artifacts, `${name}-${driver}.png`), fullPage: true });
}

/** The page in a fresh context, with everything it complained about. */
async function openPage(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.complaints = [];
  page.requests = [];
  page.on("pageerror", (error) => page.complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
  page.on("request", (request) => page.requests.push(request.url()));
  await page.goto(pageAddress);
  return page;
}

const number = async (page, id) => Number((await page.textContent(`#${id}`)).replaceAll(",", ""));

async function waitForNumber(page, id, least) {
  await page.waitForFunction(([id, least]) =>
    Number(document.getElementById(id).textContent.replaceAll(",", "")) >= least, [id, least]);
}

const waitForState = (page, state) => page.waitForSelector(`body[data-connection="${state}"]`);

/**
 * Lets the page measure with the given settings and stops it again; returns what it showed. All of it happens inside
 * the page: the browser reports every frame to whoever watches it, and a run that goes on meanwhile drowns the commands.
 */
async function measure(page, settings) {
  return page.evaluate(async ({ type, size, inFlight, roundTrips, milliseconds = 0 }) => {
    const shown = (id) => document.getElementById(id).textContent;
    const count = (id) => Number(shown(id).replaceAll(",", ""));
    const choose = (id, text) => {
      const slider = document.getElementById(id);
      for (let step = 0; step <= Number(slider.max); step++) {
        slider.value = step;
        slider.dispatchEvent(new Event("input"));
        if (shown(`${id}-value`) === text) return;
      }
      throw new Error(`the slider ${id} has no step ${text}`);
    };
    const toggle = document.getElementById("toggle");
    if (shown("toggle") === "Stop") toggle.click();
    document.querySelector(`input[name=run-type][value=${type}]`).click();
    choose("size", size);
    choose("flight", inFlight);
    toggle.click();

    let frames = 0;
    const countFrame = () => { frames++; requestAnimationFrame(countFrame); };
    requestAnimationFrame(countFrame);
    const began = performance.now();
    await new Promise((resolve) => setTimeout(resolve, Math.max(milliseconds, 300)));   // till old figures are gone
    while (count("round-trips") < roundTrips && performance.now() - began < 10_000) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const seconds = (performance.now() - began) / 1000;
    const outcome = { roundTrips: count("round-trips"), wrong: count("wrong"), frames, seconds, state: document.body.dataset.connection };
    toggle.click();
    return outcome;
  }, settings);
}

const chooseType = (page, group, value) => page.locator(`input[name=${group}][value=${value}]`).check({ force: true });

/** Sends by hand and returns the newest lines of the log: the answer, then what was sent. */
async function sendByHand(page) {
  const before = await page.locator("#log li").count();
  await page.click("#send");
  await page.waitForFunction((count) => document.querySelectorAll("#log li").length >= count, before + 2);
  return page.locator("#log li").evaluateAll((lines) => lines.slice(0, 2).map((line) => [...line.children].map((part) => part.textContent)));
}

const pageTests = [
  ["the page connects by itself and shows its measurements", async () => {
    const page = await openPage();
    await waitForState(page, "open");
    await waitForNumber(page, "round-trips", 200);
    await waitForNumber(page, "rate", 1);
    for (const id of ["p50", "p90", "p99", "max"]) assert.match(await page.textContent(`#${id}`), /^[\d.]+ (µs|ms|s)$/);
    assert.equal(await number(page, "wrong"), 0);
    assert.match(await page.getAttribute("#timeline", "aria-label"), /half within/);
    assert.match(await page.getAttribute("#spread", "aria-label"), /Distribution of \d+/);
    await page.waitForTimeout(1500);
    await screenshot(page, "echo-page");
    assert.deepEqual(page.complaints, []);
    assert.deepEqual(page.requests.filter((url) => !url.startsWith("data:")), [pageAddress], "requests beside the page itself");
  }],

  ["stop ends the round trips and start resumes them", async () => {
    const page = await openPage();
    await waitForNumber(page, "round-trips", 10);
    await page.click("#toggle");
    await page.waitForTimeout(600);
    const stopped = await number(page, "round-trips");
    await page.waitForTimeout(600);
    assert.equal(await number(page, "round-trips"), stopped);
    await page.click("#toggle");
    await waitForNumber(page, "round-trips", 10);
  }],

  ["payloads from 0 B to 1 MiB of both types come back unchanged", async () => {
    const page = await openPage();
    await waitForState(page, "open");
    for (const type of ["text", "binary"]) {
      for (const [size, inFlight, roundTrips] of [["0 B", "16", 100], ["1 B", "1", 20], ["125 B", "64", 100], ["126 B", "64", 100], ["64 KiB", "4", 20], ["1 MiB", "1", 3], ["1 MiB", "4", 6]]) {
        const outcome = await measure(page, { type, size, inFlight, roundTrips });
        const what = `${type}, ${size}, ${inFlight} in flight: ${JSON.stringify(outcome)}`;
        assert.ok(outcome.roundTrips >= roundTrips && outcome.wrong === 0 && outcome.state === "open", what);
      }
    }
    assert.deepEqual(page.complaints, []);
  }],

  ["the page keeps drawing with 256 messages in flight", async () => {
    const page = await openPage();
    await waitForState(page, "open");
    const outcome = await measure(page, { type: "text", size: "0 B", inFlight: "256", roundTrips: 1000, milliseconds: 1500 });
    assert.ok(outcome.roundTrips >= 1000 && outcome.wrong === 0, JSON.stringify(outcome));
    assert.ok(outcome.frames / outcome.seconds >= 10, `${outcome.frames} frames in ${outcome.seconds} s`);
  }],

  ["text sent by hand comes back, and markup in it stays text", async () => {
    const page = await openPage();
    await waitForState(page, "open");
    for (const text of ["Hello, Welt! Καλημέρα", "<img src=x onerror=document.title='owned'><b>bold</b>"]) {
      await page.fill("#words", text);
      const [[title, , facts, content], [sentTitle]] = await sendByHand(page);
      assert.deepEqual([title, sentTitle, content], ["Came back", "Sent", text]);
      assert.match(facts, /^text, \d+ B, [\d.]+ (µs|ms), unchanged$/);
    }
    assert.match(await page.title(), /^Echo/);
    assert.equal(await page.locator("#log img").count(), 0);
    await page.fill("#words", "");
    assert.equal((await sendByHand(page))[0][3], "(empty)");
  }],

  ["bytes in hex and a file come back as binary", async () => {
    const page = await openPage();
    await waitForState(page, "open");
    await chooseType(page, "hand-type", "hex");
    await page.fill("#words", "00 ff 7F, 0x80:0a");
    const [[, , facts, content]] = await sendByHand(page);
    assert.equal(content, "00 ff 7f 80 0a");
    assert.match(facts, /^binary, 5 B, .*unchanged$/);
    await page.fill("#words", "0 1 zz");
    await page.click("#send");
    assert.match(await page.textContent("#hand-note"), /two digits/);
    await chooseType(page, "hand-type", "file");
    await page.setInputFiles("#file", { name: "noise.bin", mimeType: "application/octet-stream", buffer: Buffer.alloc(300_000, 7) });
    assert.match((await sendByHand(page))[0][2], /^binary, 293 KiB, .*unchanged$/);
  }],

  ["a close by hand shows the code that the server answered, and Connect opens again", async () => {
    const page = await openPage();
    await waitForState(page, "open");
    await page.fill("#code", "4321");
    await page.fill("#reason", "tea time ✓");
    await page.click("#close");
    await waitForState(page, "closed");
    assert.match(await page.textContent("#state-detail"), /Code 4321: a code of the application/);
    await page.waitForTimeout(1500);
    await waitForState(page, "closed");
    await page.click("#connect");
    await waitForState(page, "open");
    await waitForNumber(page, "round-trips", 10);
  }],

  ["wrong close codes, long reasons and bad addresses are explained", async () => {
    const page = await openPage();
    await waitForState(page, "open");
    await page.fill("#code", "2000");
    // The browser's own check of the number field passes 2000, the page's does not.
    await page.click("#close");
    assert.match(await page.textContent("#closing-note"), /1000 or 3000 to 4999/);
    await page.fill("#code", "1000");
    await page.fill("#reason", "ü".repeat(62));
    await page.click("#close");
    assert.match(await page.textContent("#closing-note"), /124 bytes/);
    await waitForState(page, "open");
    await page.fill("#address", "ftp://127.0.0.1/");
    await page.click("#connect");
    await waitForState(page, "closed");
    assert.match(await page.textContent("#state-detail"), /address does not work/);
    await page.fill("#address", "ws://127.0.0.1:9/");
    await page.click("#connect");
    await page.waitForFunction(() => /could be opened.*Next try/.test(document.getElementById("state-detail").textContent));
  }],

  ["the page fits a phone and a dark scheme", async () => {
    const page = await openPage({ viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, colorScheme: "dark" });
    await waitForNumber(page, "round-trips", 10);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page is wider than the screen");
    await page.waitForTimeout(800);
    await screenshot(page, "echo-page-phone");
  }],

  ["every control has a name and can be reached by keyboard", async () => {
    const page = await openPage();
    const nameless = await page.locator("button, input, textarea").evaluateAll((controls) => controls
      .filter((control) => !(control.labels?.length || control.textContent.trim() || control.ariaLabel))
      .map((control) => control.outerHTML));
    assert.deepEqual(nameless, []);
    const reached = new Set();
    await page.locator("body").press("Tab");
    for (let press = 0; press < 40; press++) {
      reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.name));
      await page.keyboard.press("Tab");
    }
    for (const id of ["size", "flight", "run-type", "toggle", "clear-figures", "hand-type", "words", "send", "address", "connect", "code", "reason", "close"]) {
      assert.ok(reached.has(id), `${id} cannot be reached with Tab`);
    }
  }],
];

/** Runs a test and closes its pages, so that a failed one does not go on measuring beside the next. */
async function closingPages(test) {
  try {
    await test();
  } finally {
    await Promise.all(browser.contexts().map((context) => context.close()));
  }
}

/** A quiet page of the server's own origin that holds the tests of the standard interface. */
async function openTestPage() {
  const context = await browser.newContext({ bypassCSP: true });
  const page = await context.newPage();
  await page.goto(pageAddress);
  await page.click("#toggle");   // the page's own round trips would only take time from the tests
  await page.evaluate(async (source) => {
    const module = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    window.standardTests = (await import(module)).tests;
  }, readFileSync(new URL("standard.mjs", import.meta.url), "utf8"));
  return page;
}

const inPage = standardTests.map(([name], index) => [
  `in Chromium: ${name}`,
  (page) => page.evaluate(([index, address]) => window.standardTests[index][1](address), [index, address]),
]);

const chromiumOnly = [
  ["in Chromium: two subprotocols without one in common end the connection with 1006", async (page) => {
    const code = await page.evaluate((address) => new Promise((resolve) => {
      const socket = new WebSocket(address, ["chat.v1", "chat.v2"]);
      socket.onclose = (event) => resolve(event.code);
      socket.onopen = () => resolve("opened");
    }), address);
    assert.equal(code, 1006);
  }],

  ["in Chromium: a worker has its own connection", async (page) => {
    const answer = await page.evaluate((address) => new Promise((resolve, reject) => {
      const source = `const socket = new WebSocket(${JSON.stringify(address)});
        socket.onopen = () => socket.send("from a worker");
        socket.onmessage = (event) => { postMessage(event.data); socket.close(1000); };`;
      const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
      worker.onmessage = (event) => resolve(event.data);
      worker.onerror = (event) => reject(new Error(event.message));
    }), address);
    assert.equal(answer, "from a worker");
  }],

  ["in Chromium: a stream that is read late loses nothing", async (page) => {
    const total = await page.evaluate(async (address) => {
      const stream = new WebSocketStream(address);
      const { readable, writable } = await stream.opened;
      const [reader, writer] = [readable.getReader(), writable.getWriter()];
      const count = 64;
      const writing = (async () => {
        for (let number = 0; number < count; number++) await writer.write(new Uint8Array(64 * 1024).fill(number));
      })();
      await new Promise((resolve) => setTimeout(resolve, 500));
      let good = 0;
      for (let number = 0; number < count; number++) {
        const bytes = new Uint8Array((await reader.read()).value);
        if (bytes.length === 64 * 1024 && bytes.every((byte) => byte === number)) good++;
      }
      await writing;
      stream.close({ closeCode: 1000, reason: "read" });
      const { closeCode } = await stream.closed;
      return `${good} good, closed with ${closeCode}`;
    }, address);
    assert.equal(total, "64 good, closed with 1000");
  }],
];

const outcomes = [];
try {
  outcomes.push(...await run(pageTests.map(([name, test]) => [name, () => closingPages(test)])));
  const page = await openTestPage();
  outcomes.push(...await run([...inPage, ...chromiumOnly], page, outcomes.length));
} finally {
  await browser.close();
}
finish(outcomes);
