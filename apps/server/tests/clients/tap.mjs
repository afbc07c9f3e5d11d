// Runs named tests one after the other and prints one line for each, then the sums.
// Does not know WebSocket. A test fails by throwing or by taking too long; a run without tests fails.

const TEST_SECONDS_MAX = 40;

/** Prints the outcome of one test. */
export function printOutcome(number, { name, error, milliseconds }) {
  console.log(`${error ? "not ok" : "ok"} ${number} - ${name} (${Math.round(milliseconds)} ms)`);
  if (error) console.log(`  # ${String(error).replaceAll("\n", "\n  # ")}`);
}

/** Prints the sums and ends the process, even if a failed test has left connections open. */
export function finish(outcomes) {
  const failed = outcomes.filter((outcome) => outcome.error).length;
  const passed = outcomes.length - failed;
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed > 0 || passed === 0 ? 1 : 0);
}

/** Runs `tests`, a list of `[name, async function]`, and returns their outcomes. */
export async function run(tests, context, before = 0) {
  const outcomes = [];
  for (const [name, test] of tests) {
    const began = performance.now();
    let error = null;
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${TEST_SECONDS_MAX} s`)), TEST_SECONDS_MAX * 1000);
    });
    try {
      await Promise.race([test(context), late]);
    } catch (caught) {
      error = caught?.stack ?? String(caught);
    } finally {
      clearTimeout(timer);
    }
    const outcome = { name, error, milliseconds: performance.now() - began };
    outcomes.push(outcome);
    printOutcome(before + outcomes.length, outcome);
  }
  return outcomes;
}

/** The address of the server under test, from the command line. */
export function addressFromArguments() {
  const address = process.argv[2];
  if (!address) {
    console.error(`usage: node ${process.argv[1]} ws://127.0.0.1:PORT/`);
    process.exit(2);
  }
  return address;
}
