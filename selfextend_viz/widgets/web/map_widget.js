// The position map as a widget: Python sets the state, the page draws it and says which pair is pointed at.
function render({ model, el }) {
    const view = mapView(el, { onPoint: (query, key) => model.send({ kind: "point", query, key }) });
    const draw = () => view.draw(model.get("state"));
    model.on("change:state", draw);
    draw();
    return () => {
        model.off("change:state", draw);
        view.dispose();
    };
}

export default { render };
