"""Every word of the interface, in each language. A third language is one more column."""

import gradio as gr

LANGUAGES = ("en", "fr")  # the columns below; the first one is the default
WORDS: dict[str, tuple[str, ...]] = {
    "tagline": (
        "Describe a picture, find similar ones, or search a collection in your own words.",
        "Décrivez une image, trouvez-en de semblables, ou cherchez dans une collection avec vos mots.",
    ),
    "loading": (
        "Loading the models: the first answer will wait for them.",
        "Chargement des modèles : la première réponse va les attendre.",
    ),
    "under_way_fetch": (
        "{} is being fetched: {} of {} MB. It takes over when it is here.",
        "{} est en cours de téléchargement : {} sur {} Mo. Il prendra alors le relais.",
    ),
    "under_way_load": (
        "{} is being loaded.",
        "{} est en cours de chargement.",
    ),
    "under_way_read": (
        "{} reads the vocabulary: {} of {} words.",
        "{} lit le vocabulaire : {} mots sur {}.",
    ),
    "under_way_encode": (
        "The collection is being prepared for {}: {} of {} pictures.",
        "La collection est en préparation pour {} : {} images sur {}.",
    ),
    "encoder": ("Encoder", "Encodeur"),
    "captioner": ("Descriptions", "Descriptions"),
    "from_vectors": ("from the encoder's vectors", "d'après les vecteurs de l'encodeur"),
    "collection": ("Collection", "Collection"),
    "picture_count": ("1 picture", "1 image"),
    "pictures_count": ("{} pictures", "{} images"),
    "describe_tab": ("Describe", "Décrire"),
    "similar_tab": ("Find similar", "Semblables"),
    "search_tab": ("Search by text", "Par texte"),
    "describe_hint": (
        "Add a picture: what it shows appears here.",
        "Ajoutez une image : ce qu'elle montre s'affichera ici.",
    ),
    "similar_hint": (
        "Add a picture: the most similar ones of the collection appear here.",
        "Ajoutez une image : les plus semblables de la collection s'afficheront ici.",
    ),
    "search_hint": (
        "Type what you are looking for and press Enter, or click an example.",
        "Écrivez ce que vous cherchez et appuyez sur Entrée, ou cliquez sur un exemple.",
    ),
    "picture": ("Picture", "Image"),
    "try_picture": ("Or try one of these", "Ou essayez l'une de celles-ci"),
    "try_query": ("Examples", "Exemples"),
    "query": ("What are you looking for?", "Que cherchez-vous ?"),
    "query_placeholder": (
        "a red fruit, an animal with horns, something to drink from…",
        "en anglais : a red fruit, an animal with horns…",
    ),
    "query_placeholder_many": (
        "a red fruit, an animal with horns, something to drink from…",
        "un fruit rouge, un animal à cornes, de quoi boire…",
    ),
    "query_info": (
        "The starter model understands English.",
        "Le modèle de départ ne comprend que l'anglais.",
    ),
    "query_info_english": ("This model understands English.", "Ce modèle ne comprend que l'anglais."),
    "query_info_other": (
        "In whole phrases if you like, in the languages that the model understands.",
        "Par des phrases entières si vous voulez, dans les langues que le modèle comprend.",
    ),
    "query_info_many": (
        "In your own words; this model understands many languages.",
        "Avec vos mots, en français ou dans une autre langue.",
    ),
    "query_cut": ("The model did not read the end: “{}”.", "Le modèle n'a pas lu la fin : « {} »."),
    "num_hits": ("Number of pictures", "Nombre d'images"),
    "hits": ("Hits", "Résultats"),
    "close": ("Close", "Fermer"),
    "hit": ("Selected picture", "Image choisie"),
    "detail": ("How much?", "Quel niveau de détail ?"),
    "detail_short": ("In short", "En bref"),
    "detail_detailed": ("In detail", "En détail"),
    "question": ("A question about the picture", "Une question sur l'image"),
    "question_placeholder": ("empty: describe it", "vide : la décrire"),
    "language": ("Answer in", "Répondre en"),
    "stop": ("Stop", "Arrêter"),
    "description": ("Description", "Description"),
    "colours": ("Colours", "Couleurs"),
    "tags": ("Tags", "Mots-clés"),
    "bad_k": ("The number of pictures is not a number. Give one from 1.", "Le nombre d'images n'est pas un nombre."),
    "no_picture": ("There is no picture. Add one first.", "Il n'y a pas d'image. Ajoutez-en une d'abord."),
    "no_such_hit": ("That picture is no longer shown. Search again.", "Cette image n'est plus affichée. Recommencez."),
    "not_an_upload": (
        "Send the picture itself, not an address or a path.",
        "Envoyez l'image elle-même, pas une adresse.",
    ),
    "failed": (
        "Something went wrong on our side. Try again, or with another picture.",
        "Une erreur s'est produite de notre côté. Réessayez, ou prenez une autre image.",
    ),
}


def i18n() -> gr.I18n:
    """The words as Gradio translates them in the browser, by its language."""
    return gr.I18n(
        **{language: {key: texts[i] for key, texts in WORDS.items()} for i, language in enumerate(LANGUAGES)}
    )


def language_of(request: gr.Request | None) -> str:
    """The visitor's language if the interface speaks it, else the default."""
    accepted = (request.headers.get("accept-language") or "") if request else ""
    language = accepted[:2].lower()
    return language if language in LANGUAGES else LANGUAGES[0]


def word(key: str, request: gr.Request | None) -> str:
    """A word in the visitor's language, for what the browser does not translate: messages and captions."""
    return WORDS[key][LANGUAGES.index(language_of(request))]


def num_pictures(count: int, request: gr.Request | None) -> str:
    """ "12 pictures", in the visitor's language."""
    return word("picture_count" if count == 1 else "pictures_count", request).format(count)
