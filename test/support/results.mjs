import fs from 'node:fs';

/** Reads what the reporter wrote: counts, the failures with their messages, and whether the run came to its end. */
export function readResults(file) {
  const all = [];
  let running;
  let ended = false;
  let problem;
  for (const line of readLines(file)) {
    if (line.event === 'problem') {
      problem = line.message;
      continue;
    }
    if (line.event === 'start') running = line.title;
    else running = undefined;
    if (line.event === 'end') ended = true;
    else if (line.event !== 'start') record(all, line);
  }
  const count = (event) => all.filter((one) => one.event === event).length;
  return {
    passed: count('pass'),
    failed: count('fail'),
    skipped: count('skip'),
    failures: all.filter((one) => one.event === 'fail'),
    running,
    ended,
    problem,
  };
}

/** A test that fails after it passed (`done` called twice, say) is one failed test. */
function record(all, line) {
  const previous = all.at(-1);
  if (line.event === 'fail' && previous?.event === 'pass' && previous.title === line.title) {
    all.pop();
  }
  all.push(line);
}

function readLines(file) {
  if (!fs.existsSync(file)) return [];
  return fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        return line ? [JSON.parse(line)] : [];
      } catch {
        return []; // A line that was cut short by a crash.
      }
    });
}
