// The strip as a widget: Python sets the state, the page draws it and says where the reader moved the key.
function render({ model, el }) {
    const view = stripView(el, { onNeedle: (token) => model.send({ kind: "needle", token }) });
    const draw = () => view.draw(model.get("state"));
    model.on("change:state", draw);
    draw();
    return () => {
        model.off("change:state", draw);
        view.dispose();
    };
}

export default { render };
