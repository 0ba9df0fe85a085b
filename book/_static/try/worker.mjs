// Python in a thread of its own, so that a loop without an end does not freeze the page.
// All files come from the book's own server: Pyodide's core, and the course's checkers in one zip.
import { loadPyodide } from "../pyodide/pyodide.mjs";

async function wake() {
  const asked = fetch(new URL("course.zip", import.meta.url));
  const python = await loadPyodide();
  const course = await asked;
  if (!course.ok) throw new Error(`course.zip: ${course.status}`);
  python.unpackArchive(await course.arrayBuffer(), "zip", { extractDir: "/course" });
  python.runPython("import sys; sys.path.insert(0, '/course')");
  const { judge } = python.pyimport("try_runner");
  postMessage({ awake: true });
  return judge;
}

const judge = wake();
judge.catch((error) => postMessage({ failed: error.message }));

onmessage = async ({ data: { exercise, setup, code } }) => {
  try {
    postMessage({ said: (await judge)(exercise, setup, code) });
  } catch (error) {
    postMessage({ failed: error.message.trim().split("\n").pop() });
  }
};
