"""The JSON of Grafana's dashboards, panels and variables, as far as dashboards.py needs it."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24


def dashboard(uid, title, description, rows, variables=()):
    """A dashboard of rows; each row is a title and its panels, which are laid out from left to right."""
    panels, y, number = [], 0, 1
    for row_title, row_panels in rows:
        panels.append(
            {
                "type": "row",
                "collapsed": False,
                "title": row_title,
                "id": number,
                "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y},
                "panels": [],
            }
        )
        number, y, x, height = number + 1, y + 1, 0, 0
        for panel in row_panels:
            width, tall = panel.pop("size")
            if x + width > WIDTH:
                x, y = 0, y + height
            panels.append({**panel, "id": number, "gridPos": {"h": tall, "w": width, "x": x, "y": y}})
            number, x, height = number + 1, x + width, tall
        y += height
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["portcullis"],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "schemaVersion": 39,
        "templating": {"list": [datasource_variable(), *BASE_VARIABLES, *variables]},
        "annotations": {"list": [deployments()]},
        "links": [dashboard_links()],
        "panels": panels,
    }


def datasource_variable():
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Prometheus",
        "query": "prometheus",
        "skipUrlSync": False,
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "refresh": 1,
    }


def query_variable(name, label, query, multi, current=None):
    variable = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "skipUrlSync": False,
        "hide": 0,
        "multi": multi,
        "includeAll": multi,
        "refresh": 2,
        "sort": 1,
    }
    if multi:
        variable["allValue"] = ".*"
        variable["current"] = {"selected": True, "text": "All", "value": "$__all"}
    elif current:
        variable["current"] = {"selected": True, "text": current, "value": current}
    return variable


BASE_VARIABLES = [
    query_variable("job", "Job", "label_values(build_info, job)", False, "api-gateway"),
    query_variable("instance", "Replica", 'label_values(build_info{job="$job"}, instance)', True),
]


def deployments():
    """Marks the starts of replicas, which are mostly deployments."""
    return {
        "name": "Starts",
        "enable": True,
        "hide": False,
        "iconColor": "blue",
        "datasource": DATASOURCE,
        "expr": 'changes(process_start_time_seconds{job="$job"}[2m]) > 0',
    }


def dashboard_links():
    return {
        "title": "Portcullis",
        "type": "dashboards",
        "icon": "external link",
        "tooltip": "",
        "tags": ["portcullis"],
        "asDropdown": True,
        "targetBlank": False,
        "includeVars": True,
        "keepTime": True,
    }


def targets(queries):
    """Queries are pairs of expression and legend."""
    return [
        {"datasource": DATASOURCE, "refId": chr(ord("A") + index), "expr": expr, "legendFormat": legend, "range": True}
        for index, (expr, legend) in enumerate(queries)
    ]


def graph(title, unit, *queries, description="", stacked=False, size=(8, 8), lowest=0):
    """Lines over time. The axis begins at `lowest`; None lets it go below zero."""
    return {
        "type": "timeseries",
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets(queries),
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                **({} if lowest is None else {"min": lowest}),
                "custom": {
                    "lineWidth": 1,
                    "fillOpacity": 20 if stacked else 0,
                    "showPoints": "never",
                    "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
                },
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "size": size,
    }


def number(title, unit, expr, bad_from=None, good_from=None, description="", legend="", size=(4, 4)):
    """The latest value. It is red from `bad_from` on, or below `good_from`."""
    if bad_from is not None:
        steps = [{"value": None, "color": "green"}, {"value": bad_from, "color": "red"}]
    elif good_from is not None:
        steps = [{"value": None, "color": "red"}, {"value": good_from, "color": "green"}]
    else:
        steps = [{"value": None, "color": "text"}]
    return {
        "type": "stat",
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets([(expr, legend)]),
        "fieldConfig": {
            "defaults": {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": {
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "textMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
        },
        "size": size,
    }
