// Looks at pages of ringload in headless Chromium: they must draw what they have, fit the window, ask nobody for
// anything and complain about nothing. Screenshots are put beside the pages.
//
// usage: node pages.mjs FOLDER-WITH-PLAYWRIGHT FILE.html …
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, ...files] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/package.json`)("playwright-core");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // Chromium refuses its sandbox to root, and containers often run as root.
  args: process.getuid() === 0 ? ["--no-sandbox"] : [],
});

let failed = 0;
function check(good, name, why = "") {
  console.log(`${good ? "ok" : "not ok"} - ${name}${good ? "" : `: ${why}`}`);
  failed += good ? 0 : 1;
}

async function look(file, width, colorScheme) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
  const page = await context.newPage();
  const complaints = [], requests = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("request", (request) => requests.push(request.url()));
  await page.goto(pathToFileURL(file).href);
  await page.waitForSelector("h1");
  await page.waitForTimeout(150);   // till the charts have their size
  const found = await page.evaluate(() => ({
    charts: [...document.querySelectorAll("svg")].map((svg) => svg.querySelectorAll("path, circle").length),
    broken: [...document.querySelectorAll("path")].filter((path) => /NaN|Infinity/.test(path.getAttribute("d"))).length,
    rows: document.querySelectorAll("tbody tr").length,
    wider: document.documentElement.scrollWidth - innerWidth,
  }));
  const drawn = found.charts.every((marks) => marks > 0) && found.charts.length + found.rows > 0;
  const name = `${file.split("/").pop()}, ${width} pixels, ${colorScheme}`;
  check(drawn && found.broken === 0, `${name}: charts are drawn`, JSON.stringify(found));
  check(found.wider <= 0, `${name}: it fits the window`, `${found.wider} pixels too wide`);
  check(complaints.length === 0, `${name}: no complaints`, complaints.join("; "));
  const elsewhere = requests.filter((url) => !url.startsWith("file:") && !url.startsWith("data:"));
  check(elsewhere.length === 0, `${name}: nothing is fetched`, elsewhere.join(" "));
  const chart = page.locator("svg").first();
  if (width > 1000 && await chart.count() > 0 && !file.includes("compare")) {
    const box = await chart.boundingBox();
    await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.5);
    await page.waitForTimeout(200);
    const tip = await page.evaluate(() => document.getElementById("tip").textContent);
    check(/\d/.test(tip), `${name}: the pointer shows values`, JSON.stringify(tip));
    await page.mouse.move(2, 2);
    await page.waitForTimeout(300);   // till the tip has faded
  }
  await page.screenshot({ path: file.replace(/\.html$/, `-${width}-${colorScheme}.png`), fullPage: true });
  await context.close();
}

for (const file of files) {
  await look(file, 1280, "light");
  await look(file, 390, "dark");
}
await browser.close();
process.exit(failed ? 1 : 0);
