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

export default () => {
  let starting = null;

  async function start(model) {
    const library = await plotly();
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
