"""Every word of the interface, in each language. A third language is one more column."""

LANGUAGES = {"en": "English", "fr": "Français"}  # the columns below; the first one is the default
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
    "missing_count": ("1 model is missing", "1 modèle manque"),
    "missings_count": ("{} models are missing", "{} modèles manquent"),
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
    "title": ("imgsearch: describe, find similar, search", "imgsearch : décrire, trouver, chercher"),
    "thousands": (",", "\u202f"),
    "decimal": (".", ","),
    "foreign_query": (
        "This model understands English only; the query seems to be {}. Try it in English.",
        "Ce modèle ne comprend que l'anglais ; la requête semble être en {}. Essayez-la en anglais.",
    ),
    "language_de": ("German", "allemand"),
    "language_en": ("English", "anglais"),
    "language_es": ("Spanish", "espagnol"),
    "language_fr": ("French", "français"),
    "language_it": ("Italian", "italien"),
    "language_nl": ("Dutch", "néerlandais"),
    "language_pt": ("Portuguese", "portugais"),
    "strong": ("strong match", "bon résultat"),
    "fair": ("fair match", "résultat moyen"),
    "weak": ("weak match", "résultat faible"),
    "weaker_below": ("Weaker matches below", "Résultats plus faibles ci-dessous"),
    "nothing_matches": (
        "Nothing in this collection seems to match. The nearest pictures are folded away below.",
        "Rien ne semble correspondre dans cette collection. Les images les plus proches sont repliées ci-dessous.",
    ),
    "nearest_anyway": ("Show the nearest pictures", "Voir les images les plus proches"),
    "refine": ("Refine", "Affiner"),
    "more_like": ("More like", "Plus comme"),
    "less_like": ("Less like", "Moins comme"),
    "go": ("Search", "Chercher"),
    "ask": ("Ask", "Demander"),
    "more_like_it": ("More like it", "Plus comme ceci"),
    "less_like_it": ("Less like it", "Moins comme ceci"),
    "add_picture": ("More like a picture", "Plus comme une image"),
    "filters_info": (
        "Pick a value, or type column=value, column~text or column:from..to.",
        "Choisissez une valeur, ou écrivez colonne=valeur, colonne~texte ou colonne:de..à.",
    ),
    "no_more_hits": ("There are no more pictures.", "Il n'y a pas d'autres images."),
    "weight": ("Weight", "Poids"),
    "add_part": ("Add a part", "Ajouter un élément"),
    "remove_part": ("Remove this part", "Retirer cet élément"),
    "filters": ("Filters", "Filtres"),
    "next_page": ("Next page", "Page suivante"),
    "previous_page": ("Previous page", "Page précédente"),
    "page_of": ("{} to {}", "{} à {}"),
    "export_csv": ("Save as CSV", "Enregistrer en CSV"),
    "export_json": ("Save as JSON", "Enregistrer en JSON"),
    "similar_to_this": ("Similar to this", "Semblables à celle-ci"),
    "describe_this": ("Describe this", "Décrire celle-ci"),
    "search_with_description": ("Search with this description", "Chercher avec cette description"),
    "copy_count": ("1 near-duplicate", "1 quasi-doublon"),
    "copies_count": ("{} near-duplicates", "{} quasi-doublons"),
    "fold_copies": ("Fold near-duplicates into one", "Regrouper les quasi-doublons"),
    "show_scores": ("Show scores", "Afficher les scores"),
    "scores_title": ("How the scores of this query lie", "Répartition des scores de cette recherche"),
    "scores_axis": ("Score (cosine)", "Score (cosinus)"),
    "map_title": ("Map of the collection", "Carte de la collection"),
    "map_label": (
        "Map of {}: near ones look alike. The arrow keys walk from one to the next, Enter opens one, + and - zoom.",
        "Carte de {} : les voisines se ressemblent. Les flèches vont de l'une à l'autre, Entrée en ouvre une, "
        "+ et - changent l'échelle.",
    ),
    "map_colour_by": ("Colour by", "Colorer par"),
    "map_clusters": ("neighbourhood", "voisinage"),
    "map_cluster": ("Area {}", "Zone {}"),
    "map_other": ("other", "autre"),
    "map_zoom_in": ("Zoom in", "Agrandir"),
    "map_zoom_out": ("Zoom out", "Réduire"),
    "map_fit": ("Show all", "Tout voir"),
    "map_query": ("your query", "votre recherche"),
    "map_hits": ("its hits, the first by rank", "ses résultats, les premiers par rang"),
    "map_wait": (
        "The map is being drawn. It appears here.",
        "La carte est en préparation. Elle s'affichera ici.",
    ),
    "stage_encode": ("encoding", "encodage"),
    "stage_search": ("search", "recherche"),
    "stage_thumbnails": ("thumbnails", "vignettes"),
    "box_label": ("Part of the picture", "Partie de l'image"),
    "box_info": (
        "Drag a box on the picture, or type left, top, right, bottom in percent.",
        "Tracez un cadre sur l'image, ou écrivez gauche, haut, droite, bas en pour cent.",
    ),
    "bad_box": (
        "That part of the picture cannot be read. Give left, top, right and bottom in percent.",
        "Cette partie de l'image est illisible. Donnez gauche, haut, droite et bas en pour cent.",
    ),
    "no_hits_filtered": (
        "No picture passes these filters. Loosen them, or clear them all.",
        "Aucune image ne passe ces filtres. Assouplissez-les, ou effacez-les tous.",
    ),
    "not_here_any_more": (
        "The picture of this link is not here any more. Add it again.",
        "L'image de ce lien n'est plus ici. Ajoutez-la à nouveau.",
    ),
    "example_number": ("Example {}: {}", "Exemple {} : {}"),
    "failed": (
        "Something went wrong on our side. Try again, or with another picture.",
        "Une erreur s'est produite de notre côté. Réessayez, ou prenez une autre image.",
    ),
    "busy": (
        "Busy: {} others are waiting. Try again in about {} s.",
        "Le serveur est occupé : {} autres attendent. Réessayez dans environ {} s.",
    ),
    "too_many": ("Too many requests. Try again in {} s.", "Trop de demandes. Réessayez dans {} s."),
    "too_large": ("That is more than {}. Send less.", "Cela fait plus de {}. Envoyez-en moins."),
    "too_slow": (
        "What you sent did not arrive within {} s. Try again, or send less.",
        "Votre envoi n'est pas arrivé en {} s. Réessayez, ou envoyez-en moins.",
    ),
    "one_picture": ("Send one picture at a time.", "Envoyez une image à la fois."),
    "not_understood": (
        "This request cannot be read. Reload the page, or see how to use the API.",
        "Cette demande est illisible. Rechargez la page, ou voyez comment utiliser l'API.",
    ),
    "not_there": ("There is nothing here. Reload the page.", "Il n'y a rien ici. Rechargez la page."),
    "other_site": (
        "This comes from another site's page. Open the app itself.",
        "Cela vient de la page d'un autre site. Ouvrez l'application elle-même.",
    ),
}

# Queries that are one click away.
EXAMPLES: tuple[tuple[str, ...], ...] = (
    ("a dog", "un chien"),
    ("something to eat for breakfast", "de quoi manger au petit déjeuner"),
    ("a musical instrument", "un instrument de musique"),
    ("animal with horns", "un animal à cornes"),
    ("a planet", "une planète"),
    ("mountains", "des montagnes"),
)

# What the library says in English, {} for what it fills in. Other languages may fill in another order: {1} {0}.
MESSAGES: tuple[tuple[str, ...], ...] = (
    (
        "The models had no time for this within {} s. Try again later.",
        "Les modèles n'ont pas trouvé le temps en {} s. Réessayez plus tard.",
    ),
    ("The picture", "L'image"),
    ("{} does not exist. Check the path.", "{} n'existe pas. Vérifiez le chemin."),
    (
        "{} is not a picture that can be read. Use a JPEG, PNG, WebP, GIF, AVIF or HEIC.",
        "{} n'est pas une image lisible. Prenez un fichier JPEG, PNG, WebP, GIF, AVIF ou HEIC.",
    ),
    (
        "{} cannot be read: it is not a file. Check the path.",
        "{} ne peut pas être lu : ce n'est pas un fichier. Vérifiez le chemin.",
    ),
    ("{} cannot be read: {}. Check the path.", "{} ne peut pas être lu : {}. Vérifiez le chemin."),
    (
        "{} has more than {} megapixels. Scale it down first.",
        "{} a plus de {} mégapixels. Réduisez sa taille d'abord.",
    ),
    (
        "{} has a side of more than {} pixels. Scale it down first.",
        "{} a un côté de plus de {} pixels. Réduisez sa taille d'abord.",
    ),
    ("{} has more than {} MB. Use a smaller one.", "{} fait plus de {} Mo. Prenez-en un plus petit."),
    (
        "{} takes too long to decode. Use a smaller one, or save it as JPEG.",
        "{} est trop long à décoder. Prenez-en un plus petit, ou enregistrez-le en JPEG.",
    ),
    (
        "{} is damaged or incomplete. Save it again, or use another one.",
        "{} est un fichier endommagé ou incomplet. Enregistrez-le à nouveau, ou prenez-en un autre.",
    ),
    ("The query is empty. Type what to look for.", "La requête est vide. Écrivez ce que vous cherchez."),
    (
        "The query is not valid Unicode. Type it again.",
        "La requête n'est pas de l'Unicode valide. Écrivez-la à nouveau.",
    ),
    (
        "The query has {} characters, at most {} are read. Shorten it.",
        "La requête a {} caractères, {} au plus sont lus. Raccourcissez-la.",
    ),
    (
        "The number of hits is {}. Ask for at least 1.",
        "Le nombre de résultats est {}. Demandez-en au moins 1.",
    ),
    (
        "The collection has no picture {}. Choose another one.",
        "La collection n'a pas d'image {}. Choisissez-en une autre.",
    ),
    (
        "The query took longer than {} s. Ask with fewer pictures, or try again later.",
        "La recherche a pris plus de {} s. Donnez moins d'images, ou réessayez plus tard.",
    ),
    (
        "The bundle {} wants the model {}, which it may not choose by itself. Give --encoder {} if you trust it.",
        "La collection {} demande le modèle {}, qu'elle ne peut pas choisir seule. Donnez --encoder {} s'il est sûr.",
    ),
    (
        "Only a chat captioner answers questions. Start with --captioner internvl to ask some.",
        "Seul un modèle de dialogue répond aux questions. Démarrez avec --captioner internvl pour en poser.",
    ),
    (
        "{} answers no questions. Start with --captioner internvl to ask some.",
        "{} ne répond pas aux questions. Démarrez avec --captioner internvl pour en poser.",
    ),
    ("Ask a question of at most {} characters.", "Posez une question de {} caractères au plus."),
    ("The collection has no column {}. It has: {}.", "La collection n'a pas de colonne {}. Elle a : {}."),
    (
        "The filter {} is not understood. Write column=value, column~part of a text or column:from..to.",
        "Le filtre {} est illisible. Écrivez colonne=valeur, colonne~partie d'un texte ou colonne:de..à.",
    ),
    (
        "The query says only what is not wanted. Add something that is.",
        "La requête ne dit que ce qui n'est pas voulu. Ajoutez ce qui l'est.",
    ),
    (
        "The number of hits to leave out is {}. Give at least 0.",
        "Le nombre de résultats à sauter est {}. Donnez au moins 0.",
    ),
    (
        "A filter has {} characters, at most {} are read. Shorten it.",
        "Un filtre a {} caractères, {} au plus sont lus. Raccourcissez-le.",
    ),
    (
        "There are {} filters, at most {} are possible. Take some away.",
        "Il y a {} filtres, {} au plus sont possibles. Retirez-en.",
    ),
    (
        "The query has {} parts, at most {} are possible. Take some away.",
        "La requête a {} éléments, {} au plus sont possibles. Retirez-en.",
    ),
    (
        "The weight {} is not possible. Give up to {}, but not 0.",
        "Le poids {} n'est pas possible. Donnez jusqu'à {}, mais pas 0.",
    ),
    (
        "The parts of the query cancel each other out. Change one of them, or its weight.",
        "Les éléments de la requête s'annulent. Changez l'un d'eux, ou son poids.",
    ),
    (
        "That part of the picture is empty or too small. Give left, top, right and bottom anew.",
        "Cette partie de l'image est vide ou trop petite. Redonnez gauche, haut, droite et bas.",
    ),
    (
        "Something unexpected went wrong while a model was loaded; the log says more.",
        "Une erreur inattendue s'est produite au chargement d'un modèle ; le journal en dit plus.",
    ),
    ("This collection cannot be searched: {}", "Impossible de chercher dans cette collection : {}"),
    (
        "The encoder of this collection, {}, is being fetched. Wait a little.",
        "L'encodeur de cette collection, {}, est en cours de téléchargement. Patientez un peu.",
    ),
    ("The program ends.", "Le programme se termine."),
    ("the program ends.", "le programme se termine."),
    ("{} cannot be had: {}", "{} ne peut pas être obtenu : {}"),
    ("the hub did not answer within {} s.", "le hub n'a pas répondu en {} s."),
    (
        "{} arrived damaged. Start again to fetch it again.",
        "{} est arrivé endommagé. Redémarrez pour le télécharger à nouveau.",
    ),
    (
        "its files are larger than it says. Get it from elsewhere.",
        "ses fichiers sont plus grands qu'il ne le dit. Prenez-le ailleurs.",
    ),
    (
        "the hub has no {} of such a name. Check the name.",
        "le hub n'a pas de « {} » de ce nom. Vérifiez le nom.",
    ),
    (
        "HF_HUB_OFFLINE is set and its files are not all here. Unset it once to fetch them.",
        "HF_HUB_OFFLINE est activé et ses fichiers ne sont pas tous ici. Désactivez-le une fois pour les télécharger.",
    ),
    ("the hub answers {}. Try later.", "le hub répond {}. Réessayez plus tard."),
    (
        "another process is fetching it. Wait until it is done, then start again.",
        "un autre processus le télécharge. Attendez qu'il ait fini, puis redémarrez.",
    ),
    (
        "{} ({}). Make room, or set {} to another folder.",
        "{} ({}). Libérez de la place, ou donnez à {} un autre dossier.",
    ),
    (
        "the connection to the hub failed ({}). Check the network and start again.",
        "la connexion au hub a échoué ({}). Vérifiez le réseau et redémarrez.",
    ),
    (
        "the hub knows no such {}, or does not show it to you (401). Check the name, or log in: hf auth login",
        "le hub n'a pas ce « {} », ou ne vous le montre pas (401). Vérifiez le nom, ou identifiez-vous : hf auth login",
    ),
    (
        "the hub does not show it to you (403). Ask for access on its page, and log in: hf auth login",
        "le hub ne vous le montre pas (403). Demandez l'accès sur sa page, et identifiez-vous : hf auth login",
    ),
    (
        "the hub knows no such {} or revision (404). Check the name.",
        "le hub n'a pas ce « {} » ou cette révision (404). Vérifiez le nom.",
    ),
    (
        "the hub has had too many requests (429). Try again in a few minutes.",
        "le hub a reçu trop de demandes (429). Réessayez dans quelques minutes.",
    ),
    (
        "{} is not the name of a model on the hub. Give ORG/NAME or ORG/NAME@REVISION.",
        "{} n'est pas le nom d'un modèle du hub. Donnez ORG/NOM ou ORG/NOM@RÉVISION.",
    ),
    (
        "{} holds no weights for open_clip ({}). Choose another model.",
        "{} n'a pas de poids pour open_clip ({}). Choisissez un autre modèle.",
    ),
    (
        "{} holds no weights for transformers ({}). Choose another model.",
        "{} n'a pas de poids pour transformers ({}). Choisissez un autre modèle.",
    ),
    (
        "{} cannot be loaded: there is not enough memory. Choose a smaller model.",
        "{} ne peut pas être chargé : il n'y a pas assez de mémoire. Choisissez un modèle plus petit.",
    ),
    (
        "{} cannot be loaded: {}. Choose another model, or put its files right.",
        "{} ne peut pas être chargé : {}. Choisissez un autre modèle, ou remettez ses fichiers en ordre.",
    ),
    (
        "its files are damaged or of another kind ({})",
        "ses fichiers sont endommagés ou d'une autre sorte ({})",
    ),
    ("{} of its weights are missing", "{} de ses poids manquent"),
    ("its tower {} is not in its folder", "sa tour {} n'est pas dans son dossier"),
    ("open_clip has no pretrained model {}: {}.", "open_clip n'a pas de modèle entraîné {} : {}."),
    ("open_clip's documentation lists them", "la documentation d'open_clip les énumère"),
    (
        "{} was trained with another activation than {} has. Use {}.",
        "{} a été entraîné avec une autre activation que celle de {}. Prenez {}.",
    ),
    (
        "There is no {} {}. Use one of {}, or {}.",
        "Pour {}, il n'y a pas de {}. Prenez l'un de ceux-ci : {}, ou {}.",
    ),
    ("MODEL/PRETRAINED or hf-hub:ORG/NAME", "MODÈLE/POIDS ou hf-hub:ORG/NOM"),
    (
        "There is no folder {}. Give --{} the folder of a model.",
        "Il n'y a pas de dossier {}. Donnez à --{} le dossier d'un modèle.",
    ),
    ("There is no precision {}. Use one of: {}.", "Il n'y a pas de précision {}. Prenez l'une de celles-ci : {}."),
    (
        "The bundle {} was made by the encoder {}, but {} is asked for. Leave out --encoder, or build it again.",
        "La collection {} a été faite par l'encodeur {}, mais {} est demandé. "
        "Retirez --encoder, ou construisez-la à nouveau.",
    ),
    (
        "The bundle {} was made by the encoder {}, but the one loaded is {}. Build it again.",
        "La collection {} a été faite par l'encodeur {}, mais celui qui est chargé est {}. Construisez-la à nouveau.",
    ),
    (
        "The bundle {} has rows of {} numbers, the encoder {} makes {}. Build it again.",
        "La collection {} a des lignes de {} nombres, l'encodeur {} en fait {}. Construisez-la à nouveau.",
    ),
    (
        "The vectors of this collection are damaged. Build its bundle again.",
        "Les vecteurs de cette collection sont endommagés. Construisez-la à nouveau.",
    ),
    (
        "The bundle {} is damaged: {} is not as it was written. Build it again.",
        "La collection {} est endommagée : {} n'est plus tel qu'il a été écrit. Construisez-la à nouveau.",
    ),
    (
        "The bundle {} cannot be read: {}. See who may read its files.",
        "La collection {} ne peut pas être lue : {}. Voyez qui peut lire ses fichiers.",
    ),
    (
        "The bundle {} cannot be opened: {}. Build it again.",
        "La collection {} ne peut pas être ouverte : {}. Construisez-la à nouveau.",
    ),
    (
        "The bundle has format {}, this imgsearch reads up to {}. Update imgsearch.",
        "La collection est au format {}, cet imgsearch lit jusqu'à {}. Mettez imgsearch à jour.",
    ),
    ("There is no bundle at {}. {}", "Il n'y a pas de collection en {}. {}"),
    (
        "Build one: python -m imgsearch build FOLDER --out {}",
        "Construisez-en une : python -m imgsearch build DOSSIER --out {}",
    ),
    (
        "{} exists and is not a bundle. Give another path.",
        "{} existe et n'est pas une collection. Donnez un autre chemin.",
    ),
    (
        "{} is a file system of its own. Give a folder in it.",
        "{} est un système de fichiers à part. Donnez un dossier dedans.",
    ),
    (
        "{} is being written by another process. Wait until it is done.",
        "{} est en cours d'écriture par un autre processus. Attendez qu'il ait fini.",
    ),
    (
        "{} cannot be written: {}. Give another path, or make room and start again.",
        "{} ne peut pas être écrit : {}. Donnez un autre chemin, ou libérez de la place et redémarrez.",
    ),
)
