// One plotly figure. Plotly itself is loaded once a page, by the companion; the figure asks Python for its state when
// plotly is there, because updates sent while the page was still loading reached nobody.
const PATIENCE = 30000; // milliseconds: a kernel that is importing torch answers late

function plotly() {
  const page = globalThis;
  if (!page.selfextendVizPlotly) {
    const deferred = {};
    deferred.promise = new Promise((resolve) => (deferred.resolve = resolve));
    page.selfextendVizPlotly = deferred;
  }
  return page.selfextendVizPlotly.promise;
}

function currentState(model) {
  return new Promise((resolve) => {
    const done = () => {
      model.off("msg:custom", answered);
      resolve();
    };
    const answered = (message) => message?.kind === "state" && done();
    model.on("msg:custom", answered);
    model.send({ kind: "state" });
    setTimeout(done, PATIENCE); // a page without a kernel shows what was saved with it
  });
}

// plotly's widget marks whatever Python sends with a key that plotly.js does not know, and plotly.js draws all anew for
// an unknown key. Where only shapes are sent it does not see the mark, and draws nothing but them. It then tells of them
// as of something done on the page, which Python need not hear.
const MARK = "_doNotReportToPy";
const onlyShapes = (change) => Boolean(change) && Object.keys(change).join() === "shapes";

function drawShapesAlone({ FigureModel }) {
  const { get, set, shapesAlone } = FigureModel.prototype;
  if (shapesAlone) return;
  Object.assign(FigureModel.prototype, {
    shapesAlone: true,
    get(name) {
      const value = get.call(this, name);
      const change = name === "_py2js_relayout" && value?.relayout_data;
      if (onlyShapes(change)) Object.defineProperty(change, MARK, { value: true, writable: true, enumerable: false });
      return value;
    },
    set(name, value) {
      if (name !== "_js2py_relayout" || !onlyShapes(value.relayout_data)) set.call(this, name, value);
    },
  });
}

export default () => {
  let starting = null;

  async function start(model) {
    const library = await plotly();
    drawShapesAlone(library);
    await currentState(model);
    const figure = library.default();
    figure.initialize({ model });
    return figure;
  }

  return {
    async render({ model, el }) {
      starting ??= start(model);
      const figure = await starting;
      const undo = await figure.render({ model, el });
      requestAnimationFrame(() => requestAnimationFrame(() => model.send({ kind: "drawn" })));
      return undo;
    },
  };
};
